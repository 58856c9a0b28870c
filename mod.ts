/**
 * The public library: everything the programs are made of, for use in programs of one's own.
 *
 * `wire`, `session` and the tunnel's codec are pure: they take packets and time and give packets
 * back. `loop`, `capture`, `inject` and the tunnel's ends need Linux and the permission to load
 * native libraries.
 *
 * @module
 */

// wire: bytes
export * from "./src/wire/capture_format.ts";
export * from "./src/wire/capture_reader.ts";
export * from "./src/wire/checksum.ts";
export * from "./src/wire/ethernet.ts";
export * from "./src/wire/ipv4.ts";
export * from "./src/wire/ipv6.ts";
export * from "./src/wire/link_type.ts";
export * from "./src/wire/linux_cooked.ts";
export * from "./src/wire/packet.ts";
export * from "./src/wire/partition.ts";
export * from "./src/wire/pcap_file.ts";
export * from "./src/wire/pcapng.ts";
export * from "./src/wire/sequence.ts";
export * from "./src/wire/tcp.ts";
export * from "./src/wire/tcp_flags.ts";
export * from "./src/wire/tcp_options.ts";
export * from "./src/wire/tunnel_headers.ts";

// session: the simulated clients
export { DEFAULT_SESSION_CONFIG, type SessionConfig } from "./src/session/config.ts";
export { SessionCounters } from "./src/session/counters.ts";
export { Ledger, Outcome, OUTCOME_NAMES } from "./src/session/ledger.ts";
export {
  type RouteAnnouncer,
  SessionTable,
  type SessionTimers,
} from "./src/session/session_table.ts";
export type { PacketSink } from "./src/session/sink.ts";
export { type Transfer, TransferMap } from "./src/session/transfer.ts";

// tunnel: the protocol between tcpcopy and intercept
export * from "./src/tunnel/codec.ts";
export { DEFAULT_TUNNEL_FORM, type TunnelForm } from "./src/tunnel/form.ts";
export { TunnelClient, type TunnelClientOptions } from "./src/tunnel/client.ts";
export { TunnelServer, type TunnelServerOptions } from "./src/tunnel/server.ts";

// sampling: when to dump, when to stand back
export { type CapturedListener, type Listeners, listenersOf } from "./src/sampling/layotto.ts";
export { Sampler, type SamplerEvents, type SamplerOptions } from "./src/sampling/sampler.ts";
export * from "./src/sampling/strategy.ts";
export { parseStrategyDocument, type StrategyDocument } from "./src/sampling/strategy_document.ts";
export { type FileReader, SystemLoad, type SystemRates } from "./src/sampling/system_load.ts";

// loop, capture, inject: the operating system
export { EventLoop, type TimerSource } from "./src/loop/event_loop.ts";
export { TimerWheel } from "./src/loop/timer_wheel.ts";
export type { CaptureSource, CaptureStats, PacketHandler } from "./src/capture/source.ts";
export { PcapDeviceCapture, type PcapDeviceOptions } from "./src/capture/pcap_device.ts";
export { CaptureFileError, PcapFileReader } from "./src/capture/pcap_file.ts";
export { openRecording, Recording } from "./src/capture/recording.ts";
export { Next, type RecordedPackets } from "./src/capture/recorded_packets.ts";
export { RawSocketCapture, type RawSocketCaptureOptions } from "./src/capture/raw_socket.ts";
export { RingCapture, type RingDestinations, type RingDevice } from "./src/capture/ring.ts";
export type { SentPackets } from "./src/capture/ring_filter.ts";
export { LinkInjector, type LinkInjectorOptions } from "./src/inject/link.ts";
export { PcapInjector, type PcapInjectorOptions } from "./src/inject/pcap.ts";
export { RawIpInjector, type RawIpInjectorOptions } from "./src/inject/raw_ip.ts";
export { SystemError } from "./ffi/errno.ts";

// trafficdump: a dump in a server or proxy of one's own
export { Dump, type DumpOptions, type DumpSource } from "./src/trafficdump/dump.ts";
export { DumpFilter } from "./src/trafficdump/dump_filter.ts";
export {
  FilterChain,
  type FilterContext,
  type FilterStatus,
  loadFilter,
  type NetworkFilter,
} from "./src/trafficdump/filter.ts";
export { Proxy, type ProxyOptions } from "./src/trafficdump/proxy.ts";

// the programs, without their command lines
export { Relay, type RelayOptions } from "./src/intercept/relay.ts";
export { Replay, type ReplayOptions } from "./src/tcpcopy/replay.ts";
export { makePart } from "./src/tcpcopy/make_part.ts";
export type { FileSource } from "./src/tcpcopy/file_part.ts";
export type { LiveSource } from "./src/tcpcopy/live_part.ts";
export type { Part, PartSetup, PartStatus } from "./src/tcpcopy/part.ts";
export { Watch } from "./src/tcpcopy/watch.ts";
export { runOffline } from "./src/tcpcopy/offline.ts";
export { runOnline } from "./src/tcpcopy/online.ts";
