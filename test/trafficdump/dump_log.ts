/** Reads what a dump has written, for comparisons. */

import { createHash } from "node:crypto";

/** What Layotto's logger puts in front of a line. */
export const LAYOTTO_TIME = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{1,3} \[INFO\] /;

/** One record, with the connection it is from. */
export interface DumpedRecord {
  window: string;
  port: number;
  client: string;
  position: number;
  bytes: Uint8Array;
}

/** Reads the records of DIRECTORY, in order, also those set aside. */
export async function readRecords(directory: string): Promise<DumpedRecord[]> {
  const data = await readLines(directory, "dump_tcp_copy.log");
  const index = await readLines(directory, "dump_connections.log");
  if (data.length !== index.length) {
    throw new Error(`${data.length} records, but ${index.length} lines about their connections`);
  }
  return data.map((line, number) => {
    const record = /^\[([^\]]+)\]\[(\d+)\]((?:[0-9a-f]{2}(?: |$))*)$/.exec(line);
    const about = /^\[([^\]]+)\]\[(\d+)\]\[(.+)\](\d+) (\d+)$/.exec(index[number]);
    if (record === null || about === null) throw new Error(`line ${number} is not as it should be`);
    if (record[1] !== about[1] || record[2] !== about[2]) throw new Error(`line ${number} differs`);
    const bytes = new Uint8Array(
      record[3] === "" ? [] : record[3].split(" ").map((byte) => parseInt(byte, 16)),
    );
    if (bytes.length !== Number(about[5])) throw new Error(`line ${number} has another length`);
    return {
      window: record[1],
      port: Number(record[2]),
      client: about[3],
      position: Number(about[4]),
      bytes,
    };
  });
}

/** Bytes and SHA-256 of each connection's stream, by port and client; throws where one has a hole. */
export function streamsOf(
  records: readonly DumpedRecord[],
): Map<string, { bytes: number; hash: string }> {
  const streams = new Map<string, { bytes: number; hash: ReturnType<typeof createHash> }>();
  for (const { port, client, position, bytes } of records) {
    const name = `${port} ${client}`;
    const stream = streams.get(name) ?? { bytes: 0, hash: createHash("sha256") };
    streams.set(name, stream);
    if (stream.bytes !== position) throw new Error(`${name}: ${stream.bytes}, then ${position}`);
    stream.bytes += bytes.length;
    stream.hash.update(bytes);
  }
  return new Map(
    [...streams].map(([name, { bytes, hash }]) => [name, { bytes, hash: hash.digest("hex") }]),
  );
}

async function readLines(directory: string, name: string): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(directory)) {
    if (entry.name === name || entry.name.startsWith(`${name}.`)) names.push(entry.name);
  }
  // Those set aside have the time behind their name; the current one comes last.
  names.sort((a, b) => a === name ? 1 : b === name ? -1 : a < b ? -1 : 1);
  const lines: string[] = [];
  for (const one of names) {
    const text = await Deno.readTextFile(`${directory}/${one}`);
    if (text !== "" && !text.endsWith("\n")) throw new Error(`${one} ends in the middle of a line`);
    lines.push(...text.split("\n").slice(0, -1).map((line) => line.replace(LAYOTTO_TIME, "")));
  }
  return lines;
}
