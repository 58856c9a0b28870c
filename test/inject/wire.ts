/**
 * A host on a wire, for tests of frames: this process's own network, a switch it can listen to, and
 * a neighbour that answers ARP. To be run inside `ON_A_WIRE`.
 *
 *     left (198.18.0.1) ─── right ─ switch ─ port ─── far (198.18.0.2, in a namespace of its own)
 */

import { PcapDeviceCapture } from "../../src/capture/pcap_device.ts";
import { EventLoop } from "../../src/loop/event_loop.ts";

/** Wrapper for `runElsewhere`: namespaces of its own, which vanish with the process. */
export const ON_A_WIRE: readonly string[] = [
  ...["unshare", "-nmpf", "--kill-child", "--mount-proc"],
  ...["sh", "-c", 'mount -t tmpfs wire /run && exec "$0" "$@"'],
];

export const LEFT_MAC = "02:00:00:00:00:01";
export const FAR_MAC = "02:00:00:00:00:02";

/** Runs commands, one a line. */
export function run(commands: string): void {
  const { success, stderr } = new Deno.Command("sh", { args: ["-ec", commands] }).outputSync();
  if (!success) throw new Error(`${commands}: ${new TextDecoder().decode(stderr)}`);
}

/** Builds it all. */
export function layWire(): void {
  run(`ip link set lo up
    ip link add left address ${LEFT_MAC} type veth peer name right
    ip link add port type veth peer name eth0 address ${FAR_MAC}
    ip link add switch type bridge
    ip link set right master switch
    ip link set port master switch
    ip netns add far
    ip link set eth0 netns far
    ip addr add 198.18.0.1/24 dev left
    ip -n far addr add 198.18.0.2/24 dev eth0
    ip -n far link set eth0 up
    for device in switch right port left; do ip link set $device up; done`);
}

/** Resolves after a while. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One frame as the switch got it from the host. */
export interface Frame {
  destination: string;
  source: string;
  packet: string;
}

function hex(bytes: Uint8Array, separator: string): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(separator);
}

/** Hears what TCP packets come out of `left`. */
export class Listener {
  readonly loop = new EventLoop();
  readonly frames: Frame[] = [];
  readonly #capture = new PcapDeviceCapture({ device: "right", filter: "tcp", promiscuous: true });
  readonly #running: Promise<void>;

  constructor() {
    this.#capture.start(this.loop, (bytes, _view, offset, length) => {
      this.frames.push({
        destination: hex(bytes.subarray(offset, offset + 6), ":"),
        source: hex(bytes.subarray(offset + 6, offset + 12), ":"),
        packet: hex(bytes.subarray(offset + 14, offset + length), ""),
      });
    });
    this.#running = this.loop.run();
  }

  /** Waits for so many frames, a second at most; then gives them and forgets them. */
  async take(count: number): Promise<Frame[]> {
    for (let waitedMs = 0; waitedMs < 1000 && this.frames.length < count; waitedMs += 5) {
      await pause(5);
    }
    return this.frames.splice(0);
  }

  async close(): Promise<void> {
    this.loop.stop();
    await this.#running;
    this.#capture.close();
    this.loop.close();
  }
}
