import assert from "node:assert/strict";
import { Arena } from "../../ffi/arena.ts";
import { Errno } from "../../ffi/errno.ts";
import {
  acceptConnection,
  AF_INET,
  attachFilter,
  bindIpv4,
  closeFd,
  connectIpv4,
  DROP_ALL_FILTER,
  type FilterInstruction,
  getOption,
  IPPROTO_TCP,
  listenOn,
  localEndpoint,
  openSocket,
  peerEndpoint,
  receive,
  send,
  setNonBlocking,
  setOption,
  setReceiveBuffer,
  setSendBuffer,
  SHUT_WR,
  shutdownSocket,
  SO_REUSEADDR,
  SOCK_STREAM,
  socketDrops,
  socketError,
  SOL_SOCKET,
  TCP_NODELAY,
  trySetOption,
} from "../../ffi/socket.ts";
import { parseIpv4 } from "../../src/wire/ipv4.ts";
import { openFileCount } from "./open_files.ts";

const LOOPBACK = parseIpv4("127.0.0.1") ?? 0;

/** Calls again until the result is not -EAGAIN; loopback needs no more than a moment. */
function retry(call: () => number): number {
  const endMs = performance.now() + 2000;
  let result = call();
  while (result === -Errno.EAGAIN && performance.now() < endMs) result = call();
  return result;
}

function listenOnLoopback(): number {
  const fd = openSocket(AF_INET, SOCK_STREAM, 0, "test listener");
  setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  bindIpv4(fd, LOOPBACK, 0, "test listener");
  listenOn(fd, 8, "test listener");
  return fd;
}

Deno.test("a TCP connection: connect, accept, both names, send, receive, end", () => {
  const before = openFileCount();
  const memory = new Arena(4096);
  const listener = listenOnLoopback();
  const { address, port } = localEndpoint(listener);
  assert.equal(address, LOOPBACK);
  assert.ok(port > 0);
  assert.equal(acceptConnection(listener), -Errno.EAGAIN);

  const client = openSocket(AF_INET, SOCK_STREAM, 0, "test client");
  assert.equal(peerEndpoint(client), undefined);
  const started = connectIpv4(client, LOOPBACK, port);
  assert.ok(started === 0 || started === -Errno.EINPROGRESS);
  const peer = { address: 0, port: 0 };
  const server = retry(() => acceptConnection(listener, peer));
  assert.deepEqual(peer, localEndpoint(client));
  assert.ok(server > 0);
  assert.equal(socketError(client), 0);
  assert.deepEqual(peerEndpoint(client), { address: LOOPBACK, port });
  assert.deepEqual(peerEndpoint(server), localEndpoint(client));
  setOption(client, IPPROTO_TCP, TCP_NODELAY, 1);
  assert.equal(getOption(client, IPPROTO_TCP, TCP_NODELAY), 1);

  assert.equal(receive(server, memory.addressAt(0), 100), -Errno.EAGAIN);
  memory.bytes.set([5, 6, 7]);
  assert.equal(send(client, memory.addressAt(0), 3), 3);
  assert.equal(retry(() => receive(server, memory.address + 1000, 100)), 3);
  assert.deepEqual([...memory.bytes.subarray(1000, 1003)], [5, 6, 7]);
  assert.equal(shutdownSocket(client, SHUT_WR), 0);
  assert.equal(retry(() => receive(server, memory.addressAt(0), 100)), 0);

  for (const fd of [client, server, listener]) closeFd(fd);
  memory.free();
  assert.equal(openFileCount(), before);
});

Deno.test("a refused connection is reported by number, not thrown", () => {
  const listener = listenOnLoopback();
  const { port } = localEndpoint(listener);
  closeFd(listener);
  const client = openSocket(AF_INET, SOCK_STREAM, 0, "test client");
  const started = connectIpv4(client, LOOPBACK, port);
  const error = started === -Errno.EINPROGRESS ? socketError(client) : -started;
  assert.equal(error, Errno.ECONNREFUSED);
  closeFd(client);
});

Deno.test("sending to a peer that is gone returns EPIPE and raises no signal", () => {
  const memory = new Arena(64);
  const listener = listenOnLoopback();
  const client = openSocket(AF_INET, SOCK_STREAM, 0, "test client");
  connectIpv4(client, LOOPBACK, localEndpoint(listener).port);
  closeFd(retry(() => acceptConnection(listener)));
  assert.equal(shutdownSocket(client, SHUT_WR), 0);
  assert.equal(send(client, memory.base, 1), -Errno.EPIPE);
  closeFd(client);
  closeFd(listener);
  memory.free();
});

Deno.test("a port in use is refused with a sentence", () => {
  const listener = listenOnLoopback();
  const { port } = localEndpoint(listener);
  const second = openSocket(AF_INET, SOCK_STREAM, 0, "second");
  assert.throws(
    () => bindIpv4(second, LOOPBACK, port, `listening on port ${port}`),
    /^SystemError: listening on port \d+: bind failed: EADDRINUSE .*choose another port/,
  );
  closeFd(second);
  closeFd(listener);
});

Deno.test("buffer sizes report what was granted", () => {
  const fd = openSocket(AF_INET, SOCK_STREAM, 0, "test");
  assert.equal(setReceiveBuffer(fd, 100_000), 100_000);
  assert.equal(setSendBuffer(fd, 100_000), 100_000);
  closeFd(fd);
});

Deno.test("options and descriptors that are no good", () => {
  const fd = openSocket(AF_INET, SOCK_STREAM, 0, "test");
  assert.ok(trySetOption(fd, SOL_SOCKET, 9999, 1) < 0);
  assert.throws(() => setOption(fd, SOL_SOCKET, 9999, 1), /setsockopt failed: ENOPROTOOPT/);
  assert.throws(() => getOption(fd, SOL_SOCKET, 9999), /getsockopt failed: ENOPROTOOPT/);
  setNonBlocking(fd);
  closeFd(fd);
  assert.throws(() => closeFd(fd), /EBADF/);
  assert.throws(() => setNonBlocking(fd), /EBADF/);
  assert.throws(() => openSocket(9999, SOCK_STREAM, 0, "odd"), /^SystemError: odd: socket failed/);
});

Deno.test({
  name: "filters are attached, or refused with a sentence",
  // Some kernels let only root attach filters.
  ignore: Deno.uid() !== 0,
  fn() {
    const fd = openSocket(AF_INET, SOCK_STREAM, 0, "test");
    assert.throws(() => attachFilter(fd, [], "test"), RangeError);
    // A program that does not end in RET.
    const endless: FilterInstruction[] = [[0x20, 0, 0, 0]];
    assert.throws(
      () => attachFilter(fd, endless, "test"),
      /^SystemError: test: packet filter: setsockopt failed: EINVAL/,
    );
    attachFilter(fd, DROP_ALL_FILTER, "test");
    assert.equal(socketDrops(fd), 0);
    closeFd(fd);
  },
});
