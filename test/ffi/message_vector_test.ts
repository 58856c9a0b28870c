import assert from "node:assert/strict";
import { Arena } from "../../ffi/arena.ts";
import { Errno } from "../../ffi/errno.ts";
import { MessageVector } from "../../ffi/message_vector.ts";
import { AF_INET, bindIpv4, closeFd, localEndpoint, openSocket } from "../../ffi/socket.ts";
import { parseIpv4 } from "../../src/wire/ipv4.ts";

const LOOPBACK = parseIpv4("127.0.0.1") ?? 0;
const SOCK_DGRAM = 2;
const COUNT = 5;
const SLOT_BYTES = 100;

Deno.test("messages go out and come in, each with its own length and bytes", () => {
  const memory = new Arena(3 * MessageVector.bytesFor(COUNT) + 2 * COUNT * SLOT_BYTES);
  const outgoing = new MessageVector(memory, COUNT, true);
  const incoming = new MessageVector(memory, COUNT, false);
  const data = memory.allocate(2 * COUNT * SLOT_BYTES);
  const fd = openSocket(AF_INET, SOCK_DGRAM, 0, "test");
  const peer = openSocket(AF_INET, SOCK_DGRAM, 0, "test");
  bindIpv4(fd, LOOPBACK, 0, "test");
  bindIpv4(peer, LOOPBACK, 0, "test");

  assert.equal(incoming.receive(peer, COUNT), -Errno.EAGAIN);
  // Destinations carry an address only, as raw sockets need it; for UDP the port is patched in.
  const port = localEndpoint(peer).port;
  const isDestination = (at: number) =>
    memory.view.getUint16(at, true) === AF_INET && memory.view.getUint16(at + 2) === 0;
  const view = memory.view;
  view.setInt32(data, LOOPBACK);
  const word = new Uint32Array(memory.bytes.buffer, data, 1)[0];
  view.setInt32(data, 0);
  for (let index = 0; index < COUNT; index++) {
    const at = data + index * SLOT_BYTES;
    memory.bytes.fill(index + 1, at, at + SLOT_BYTES);
    outgoing.setBuffer(index, memory.address + at, 10 + index);
    outgoing.setDestinationWord(index, word);
    incoming.setBuffer(index, memory.address + at + COUNT * SLOT_BYTES, SLOT_BYTES);
  }
  const destinations = MessageVector.bytesFor(COUNT) - 8 - COUNT * 16;
  for (let index = 0; index < COUNT; index++) {
    const at = destinations + index * 16;
    assert.ok(isDestination(at));
    view.setUint16(at + 2, port);
  }
  // The fourth goes to the broadcast address, which the kernel refuses.
  outgoing.setDestinationWord(3, 0xffff_ffff);

  assert.equal(outgoing.send(fd, 0, COUNT), 3);
  assert.equal(outgoing.send(fd, 3, COUNT - 3), -Errno.EACCES);
  assert.equal(outgoing.send(fd, 4, COUNT - 4), 1);
  assert.equal(incoming.receive(peer, COUNT), 4);
  const lengths = [0, 1, 2, 3].map((index) => incoming.lengthOf(index));
  assert.deepEqual(lengths, [10, 11, 12, 14]);
  const first = [0, 1, 2, 3].map((index) => memory.bytes[data + (COUNT + index) * SLOT_BYTES]);
  assert.deepEqual(first, [1, 2, 3, 5]);
  closeFd(fd);
  closeFd(peer);
  memory.free();
});
