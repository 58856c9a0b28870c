/** Asks the counting filter, and says what it does not like: `deno run -A …/question.ts HOST:PORT`. */

const [hostname, port] = Deno.args[0].split(":");

async function say(text: string): Promise<string> {
  const conn = await Deno.connect({ hostname, port: Number(port) });
  await conn.write(new TextEncoder().encode(text));
  const buffer = new Uint8Array(1000);
  const count = await conn.read(buffer);
  conn.close();
  return count === null ? "closed" : new TextDecoder().decode(buffer.subarray(0, count));
}

console.log(await say("COUNTS?"));
console.log(`forbidden: ${await say("FORBIDDEN")}`);
