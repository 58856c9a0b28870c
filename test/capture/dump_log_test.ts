import assert from "node:assert/strict";
import { DumpLogReader, isDumpLog } from "../../src/capture/dump_log.ts";
import { Next } from "../../src/capture/recorded_packets.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";

const W1 = "0a1b2c3d-0000-4000-8000-000000000001";
const W2 = "0a1b2c3d-0000-4000-8000-000000000002";

function withFile(text: string, use: (path: string) => void): void {
  const path = Deno.makeTempFileSync({ suffix: ".log" });
  Deno.writeTextFileSync(path, text);
  try {
    use(path);
  } finally {
    Deno.removeSync(path);
  }
}

interface Played {
  atMs: number;
  port: number;
  text: string;
  from: string;
}

/** Plays a recording; checks that each connection has a beginning, data in order, and an end. */
function play(reader: DumpLogReader): Played[] {
  const connections = new Map<string, Played & { next: number; ended: boolean }>();
  const packet = new Packet();
  while (reader.next() === Next.Packet) {
    const { bytes, view, offset, capturedLength } = reader;
    assert.equal(packet.parseIp(bytes, view, offset, capturedLength), ParseResult.Tcp);
    assert.equal(packet.destinationAddress, 77);
    const from = `${packet.sourceAddress}:${packet.sourcePort}`;
    if (packet.flags & TcpFlag.Syn) {
      assert.ok(!connections.has(from));
      const port = packet.destinationPort;
      const atMs = reader.timestampUs / 1000;
      connections.set(from, { atMs, port, text: "", from, next: 1, ended: false });
      continue;
    }
    const connection = connections.get(from)!;
    assert.equal(packet.sequence, connection.next);
    const payload = bytes.subarray(
      packet.payloadOffset,
      packet.payloadOffset + packet.payloadLength,
    );
    connection.text += new TextDecoder().decode(payload);
    connection.next += packet.payloadLength;
    if (packet.flags & TcpFlag.Fin) connection.ended = true;
  }
  assert.ok([...connections.values()].every(({ ended }) => ended));
  return [...connections.values()];
}

Deno.test("each record is a connection, spread over its window, one window after the other", () => {
  const text =
    `[${W1}][80]61 62\n[${W1}][81]63\n\nnonsense\n[${W1}][80]zz\n[${W2}][80]64\r\n[${W2}][80]`;
  withFile(text, (path) => {
    assert.ok(isDumpLog(path));
    using reader = new DumpLogReader(path, () => 77);
    assert.deepEqual([reader.records, reader.skippedLines], [3, 2]);
    for (let round = 0; round < 2; round++) {
      const played = play(reader);
      assert.deepEqual(played.map(({ text }) => text), ["ab", "c", "d"]);
      assert.deepEqual(played.map(({ port }) => port), [80, 81, 80]);
      assert.deepEqual(played.map(({ atMs }) => atMs), [0, 500, 1000]);
      reader.rewind();
    }
  });
});

Deno.test("lines as Layotto's logger writes them are played at their times", () => {
  const text = `2026-01-02 03:04:05,100 [INFO] [${W1}][34904]61\n` +
    `2026-01-02 03:04:35,350 [INFO] [${W2}][34904]62\n`;
  withFile(text, (path) => {
    assert.ok(isDumpLog(path));
    using reader = new DumpLogReader(path, () => 77);
    const [first, second] = play(reader);
    assert.equal(second.atMs - first.atMs, 30_250);
  });
});

Deno.test("Layotto's milliseconds are a number without zeros in front: 1,000 of 1,000 replay", () => {
  const pad = (value: number) => String(value).padStart(2, "0");
  const begin = "2026-01-02 03:04";
  for (const padding of [0, 3]) {
    let text = "";
    for (let number = 0; number < 1000; number++) {
      const milliseconds = String(number).padStart(padding, "0");
      const second = pad(Math.floor(number / 500));
      text += `${begin}:${second},${milliseconds} [INFO] [${W1}][34904]` +
        `${pad(number % 10)} ff 00\n`;
    }
    withFile(text, (path) => {
      assert.ok(isDumpLog(path), "its first line ends in ,0");
      using reader = new DumpLogReader(path, () => 77);
      assert.deepEqual([reader.records, reader.skippedLines], [1000, 0]);
      const played = play(reader);
      assert.equal(played.length, 1000);
      const [first] = played;
      played.forEach(({ atMs }, number) => {
        assert.equal(atMs - first.atMs, number + (number < 500 ? 0 : 1000));
      });
    });
  }
});

Deno.test("records longer than a packet and than the buffer come whole", () => {
  const long = "x".repeat(700_000);
  const hex = Array.from(long, () => "78").join(" ");
  withFile(`[${W1}][80]${hex}\n[${W1}][80]61\n`, (path) => {
    using reader = new DumpLogReader(path, () => 77);
    const played = play(reader);
    assert.deepEqual(played.map(({ text }) => text.length), [700_000, 1]);
    assert.equal(played[0].text, long);
  });
});

Deno.test("what is no dump is left to others", () => {
  assert.equal(isDumpLog("-"), false);
  assert.equal(isDumpLog("/nowhere/at/all"), false);
  withFile("no dump\n", (path) => assert.equal(isDumpLog(path), false));
  withFile("", (path) => assert.equal(isDumpLog(path), false));
});
