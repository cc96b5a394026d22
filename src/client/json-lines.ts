import { parseJson } from "../machinery/json.ts";

const newline = 0x0a;

/**
 * Splits a stream of bytes into JSON documents, one a line. A line inside one chunk is parsed in place; only a line
 * that spans chunks is joined, once. The source is read no faster than the consumer takes documents.
 */
export async function* parseJsonLines(source: AsyncIterable<Buffer>): AsyncGenerator<unknown, void, void> {
  let parts: Buffer[] = [];
  for await (const chunk of source) {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(newline, start);
      if (end < 0) break;
      const tail = chunk.subarray(start, end);
      const line = parts.length === 0 ? tail : Buffer.concat([...parts, tail]);
      parts = [];
      start = end + 1;
      if (line.length > 0) yield parseJson(line);
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
  if (parts.length > 0) {
    const rest = Buffer.concat(parts);
    if (rest.toString("latin1").trim() !== "") yield parseJson(rest);
  }
}
