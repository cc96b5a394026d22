import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameReader, frame, OversizeError } from "../../../src/rpc/grpc-frames.ts";

function read(reader: FrameReader, pieces: readonly Buffer[]): string[] {
  const seen: string[] = [];
  for (const piece of pieces) reader.push(piece, (message) => seen.push(message.toString()));
  return seen;
}

test("messages come out whole however their bytes are cut, empty ones too", () => {
  const texts = ["one", "", "x".repeat(1000), "two"];
  const bytes = Buffer.concat(texts.map((text) => frame(Buffer.from(text))));
  for (const size of [1, 2, 5, 6, 7, 100, bytes.length]) {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
    assert.deepEqual(read(new FrameReader(1000), pieces), texts, `in pieces of ${size}`);
  }
});

test("a message above the limit is refused when its head is there, and so is a compressed one", () => {
  const reader = new FrameReader(10);
  assert.deepEqual(read(reader, [frame(Buffer.alloc(10, "y"))]), ["y".repeat(10)]);
  assert.throws(() => read(reader, [frame(Buffer.alloc(11)).subarray(0, 5)]), OversizeError);
  const compressed = frame(Buffer.from("z"));
  compressed[0] = 1;
  assert.throws(() => read(new FrameReader(10), [compressed]), /compressed/);
});
