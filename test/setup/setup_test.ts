import assert from "node:assert/strict";
import { environment, fetchedDirectories } from "./environment.ts";
import { missing, type Need, neededFor, packagesOf } from "./needs.ts";
import { sentence, sentenceWithoutApt } from "./setup.ts";

const need = (name: string, from: string): Need => ({ name, kind: "command", package: from });

Deno.test("the demo needs less than the tests", () => {
  assert.deepEqual(packagesOf(neededFor("demo")), [
    "iproute2",
    "libpcap0.8",
    "mount",
    "util-linux",
  ]);
  assert.ok(packagesOf(neededFor("test")).includes("nginx"));
});

Deno.test("what is there is not missing", () => {
  const absent = need("no-such-command", "no-such-package");
  assert.deepEqual(missing([need("sh", "dash"), absent]), [absent]);
});

Deno.test("what cannot be brought is told in one sentence", () => {
  const absent = [need("ip", "iproute2"), need("nsenter", "util-linux"), need("tc", "iproute2")];
  assert.match(
    sentence(absent, "no network"),
    /^ip, nsenter, tc are missing and could not be fetched \(no network\); .*install them: apt-get install iproute2 util-linux$/,
  );
  assert.match(
    sentenceWithoutApt(absent.slice(0, 1)),
    /^ip is missing, and there is no apt-get .* \(Debian's packages: iproute2\)$/,
  );
});

Deno.test("fetched packages are found behind the system's own", () => {
  const directory = Deno.makeTempDirSync();
  try {
    assert.deepEqual(environment(`${directory}/none`), {});
    Deno.mkdirSync(`${directory}/some+more/usr/sbin`, { recursive: true });
    Deno.mkdirSync(`${directory}/some+more/usr/lib/${Deno.build.arch}-linux-gnu`, {
      recursive: true,
    });
    const { programs, libraries } = fetchedDirectories(directory);
    assert.deepEqual(programs, [`${directory}/some+more/usr/sbin`]);
    assert.equal(libraries[0], `${directory}/some+more/usr/lib/${Deno.build.arch}-linux-gnu`);
    const variables = environment(directory);
    assert.ok(variables.PATH.endsWith(`:${programs[0]}`));
    assert.ok(variables.LD_LIBRARY_PATH.includes(libraries[0]));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
