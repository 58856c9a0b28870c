/** Recordings that are damaged, never come, or jump in time: each is one clear line, and no hang. */

import assert from "node:assert/strict";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import { IPV4_HEADER_BYTES, writeIpv4Header } from "../../src/wire/ipv4.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { PcapWriter } from "../../src/wire/pcap_file.ts";
import { writeTcpHeader } from "../../src/wire/tcp.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";

const root = new URL("../../", import.meta.url).pathname;
const TIMEOUT_MS = 60_000;
const YEARS_S = 2_594_967_280;

/** A file of SYNs, at the given times in seconds. */
function recording(timesS: readonly number[]): Uint8Array<ArrayBuffer> {
  const writer = new PcapWriter(LinkType.Raw);
  timesS.forEach((timeS, index) => {
    const packet = new Uint8Array(40);
    const view = new DataView(packet.buffer);
    writeIpv4Header(view, 0, 40, 1, 64, 6, 0x0a000001, 0x0a000002);
    writeTcpHeader(view, IPV4_HEADER_BYTES, 2000 + index, 80, 1, 0, 20, TcpFlag.Syn, 1000);
    writer.add(Math.round(timeS * 1e6), packet);
  });
  return writer.bytes();
}

/** In a network of its own: intercept, and a scene with tcpcopy, which takes the (sub)shell's place. */
const stage = `
  ip link set lo up
  coproc "$DENO" run -A --quiet "$ROOT/src/intercept/main.ts" -i lo -F "tcp port 9999" 2>&1
  read -r line <&"\${COPROC[0]}"
  tcpcopy() {
    exec "$DENO" run -A --quiet "$ROOT/src/tcpcopy/main.ts" -x 80-198.18.0.2:80 -s 127.0.0.1 -t 1 "$@"
  }
  heard() { until grep -q "$1" log || ! kill -0 $!; do sleep 0.05; done; }
  SCENE
  echo "exit code $?"
  cat log
  kill $COPROC_PID
`;

/** @returns what tcpcopy printed and logged, and its exit code */
async function play(files: Record<string, Uint8Array>, scene: string): Promise<string> {
  const directory = await Deno.makeTempDir();
  try {
    for (const [name, bytes] of Object.entries(files)) {
      await Deno.writeFile(`${directory}/${name}`, bytes);
    }
    const script = stage.replace("SCENE", scene);
    const output = await new Deno.Command("unshare", {
      args: [
        ...["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"],
        ...["--mount-proc", "bash", "-c", script],
      ],
      cwd: directory,
      env: { DENO: Deno.execPath(), ROOT: root },
      stdin: "null",
      stderr: "inherit",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).output();
    return new TextDecoder().decode(output.stdout);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

for (const signal of ["INT", "TERM"]) {
  Deno.test(`a pipe without a writer is named, and SIG${signal} ends the waiting`, async () => {
    const text = await play(
      {},
      `mkfifo pipe
       tcpcopy -i pipe 2>log &
       heard "waiting for"
       kill -${signal} $!
       wait $!`,
    );
    assert.match(text, /waiting for a writer of pipe\n/);
    assert.match(text, /^sessions +0\n/);
    assert.match(text, /exit code 1\n/);
  });
}

Deno.test("a writer that writes nothing is waited for in so many words, then replayed", async () => {
  const text = await play(
    { "ok.pcap": recording([1, 1.01]) },
    `mkfifo pipe
     tcpcopy -i pipe 2>log &
     exec 3>pipe
     heard "waiting for"
     cat ok.pcap >&3
     exec 3>&-
     wait $!`,
  );
  assert.match(text, /waiting for data from pipe\n/);
  assert.match(text, /^sessions +2\n/);
});

const many = recording(Array.from({ length: 60_000 }, (_, index) => 1 + index / 1e6));
const withChecksum = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };
const intact = { zst: zstdCompressSync(many, withChecksum), gz: gzipSync(many) };

function damaged(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy.fill(0x5a, copy.length >> 1, (copy.length >> 1) + 20);
  return copy;
}

for (const [form, bytes] of Object.entries(intact)) {
  Deno.test(`damaged ${form}: in a pipe what came before it is replayed and accounted for`, async () => {
    const text = await play(
      { broken: damaged(bytes) },
      `mkfifo pipe
       cat broken >pipe &
       (tcpcopy -i pipe 2>log)`,
    );
    const line =
      /^tcpcopy: The capture file pipe (?:cannot be read|is broken) after (\d+) packets \((?:the (?:zstd|gzip) data are damaged, noticed by byte \d+|a packet of).*The replay ended there, with ([\d,]+) packets played\.$/m
        .exec(text);
    assert.ok(line !== null, text);
    assert.equal(line[2].replaceAll(",", ""), line[1]);
    const ledger = /^sessions +([\d,]+)\n/.exec(text);
    assert.ok(ledger !== null && line[1] !== "0", text);
    assert.match(text, /exit code 1\n/);
  });

  Deno.test(`damaged ${form}: as a file it is refused before anything is sent`, async () => {
    const text = await play({ broken: damaged(bytes) }, `(tcpcopy -i broken 2>log)`);
    assert.match(
      text,
      /^exit code 1\ntcpcopy: The capture file broken .*Nothing was replayed\.\n$/,
    );
  });
}

for (const workers of [1, 2]) {
  Deno.test(`a jump of years is told and cut, workers: ${workers}`, async () => {
    const text = await play(
      { "jump.pcap": recording([1, 1.01, YEARS_S, YEARS_S + 0.01, 2, 2.01]) },
      `(tcpcopy -i jump.pcap --workers ${workers} 2>log)`,
    );
    assert.match(text, /jump\.pcap: packet 3 was recorded 2,594,967,279 s after/);
    assert.match(text, /jump\.pcap: packet 5 was recorded 2,594,967,278 s before/);
    assert.equal(text.match(/was recorded/g)?.length, 2, text);
    assert.match(text, /6 packets, 6 of them requests, recorded in \S+ s, to be played in 1\.0 s/);
    assert.match(text, /^sessions +6\n/);
  });
}

Deno.test("a jump of years in standard input is told and cut", async () => {
  const text = await play(
    { "jump.pcap": recording([1, YEARS_S]) },
    `(tcpcopy -i - 2>log <jump.pcap)`,
  );
  assert.match(text, /standard input: packet 2 was recorded .* it is played 1 s later/);
  assert.match(text, /^sessions +2\n/);
});

Deno.test("a jump of years in a dump's log is told and cut", async () => {
  const line = (time: string) => `${time} [INFO] [window][80]61 62\n`;
  const log = line("2026-01-01 00:00:00.000") + line("2106-01-01 00:00:00.000");
  const text = await play(
    { "dump.log": new TextEncoder().encode(log) },
    `(tcpcopy -i dump.log -c 198.19.0.x 2>log)`,
  );
  assert.match(text, /dump\.log: packet 4 was recorded 2,524,\d\d\d,\d\d\d s after/);
  assert.match(text, /^sessions +2\n/);
});
