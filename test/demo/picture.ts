/** The four hosts of the demo, drawn for a terminal. Pure. */

const wide = `
  client               online                       target
  +---------+ request  +--------------+  the same   +--------------+
  |         |--------->| application  |   request   | application  |
  | clients |          |              |------------>|              |
  |         |<---------| tcpcopy      |             | under test   |
  +---------+  answer  +--------------+             +--------------+
                              ^                            | answer
                 what the     |      +--------------+      |
                 target said  +------| intercept    |<-----+
                                     +--------------+
                                     assistant
`;

const narrow = `
  client     real clients ask online
  online     the application answers;
             tcpcopy asks target the same
  target     the application under test
  assistant  intercept takes its answers
             and tells tcpcopy
`;

/** The picture that fits into `width` columns. */
export function picture(width: number): string {
  const fits = Math.max(...wide.split("\n").map((line) => line.length)) < width;
  return (fits ? wide : narrow).slice(1, -1);
}
