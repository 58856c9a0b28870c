/** An offline replay that is interrupted ends at once, with its ledger. */

import assert from "node:assert/strict";
import { IPV4_HEADER_BYTES, writeIpv4Header } from "../../src/wire/ipv4.ts";
import { LinkType } from "../../src/wire/link_type.ts";
import { PcapWriter } from "../../src/wire/pcap_file.ts";
import { writeTcpHeader } from "../../src/wire/tcp.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";

const root = new URL("../../", import.meta.url).pathname;
const directory = Deno.makeTempDirSync();
globalThis.addEventListener("unload", () => Deno.removeSync(directory, { recursive: true }));

/** Connections that open, one every 5 ms for a minute: the replay is amid them when interrupted. */
function captureFile(): string {
  const writer = new PcapWriter(LinkType.Raw);
  for (let i = 0; i < 12_000; i++) {
    // The client's SYN, and what completes the handshake.
    for (const [sequence, flags] of [[1, TcpFlag.Syn], [2, TcpFlag.Ack]]) {
      const packet = new Uint8Array(40);
      const view = new DataView(packet.buffer);
      writeIpv4Header(view, 0, 40, 1, 64, 6, 0x0a000001, 0x0a000002);
      writeTcpHeader(view, IPV4_HEADER_BYTES, 2000 + i, 80, sequence, 9, 20, flags, 1000);
      writer.add(1_000_000 + 5000 * i, packet, 40);
    }
  }
  const path = Deno.makeTempFileSync({ dir: directory, suffix: ".pcap" });
  Deno.writeFileSync(path, writer.bytes());
  return path;
}

/** Runs both programs in a network of their own, tcpcopy's output goes to the caller. */
const script = `
  ip link set lo up
  coproc "$DENO" run -A --quiet "$ROOT/src/intercept/main.ts" -i lo -F "tcp port 9999" 2>&1
  read -r line <&"\${COPROC[0]}"
  "$DENO" run -A --quiet "$ROOT/src/tcpcopy/main.ts" -x 80-198.18.0.2:80 -s 127.0.0.1 -c 198.19.0.x \
    -i "$FILE" --workers "$1" 2>"$FILE.log" &
  tcpcopy=$!
  until grep -q ready "$FILE.log" || ! kill -0 $tcpcopy; do sleep 0.05; done
  sleep 1
  kill -INT $tcpcopy
  wait $tcpcopy
  echo "exit code $?"
  cat "$FILE.log"
  kill $COPROC_PID
`;

for (const workers of [1, 2]) {
  Deno.test(`an interrupted replay ends with its ledger, workers: ${workers}`, async () => {
    const file = captureFile();
    const output = await new Deno.Command("unshare", {
      args: [
        ...["--user", "--map-root-user", "--net", "bash", "-c", script, "bash", `${workers}`],
      ],
      env: { DENO: Deno.execPath(), ROOT: root, FILE: file },
      stdin: "null",
      stderr: "inherit",
      signal: AbortSignal.timeout(30_000),
    }).output();
    const text = new TextDecoder().decode(output.stdout);
    const ledger = /^sessions +(\d+)\n +complete +0\n +open at exit +(\d+)\n/.exec(text);
    assert.ok(ledger !== null, text);
    assert.ok(Number(ledger[1]) > 10, text);
    assert.equal(ledger[2], ledger[1], text);
    assert.match(text, /exit code 1\n/);
    assert.doesNotMatch(text, /fault of the program/);
  });
}
