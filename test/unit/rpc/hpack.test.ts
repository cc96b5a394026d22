import assert from "node:assert/strict";
import { test } from "node:test";
import { HeaderWriter, readHeaders } from "../../../src/rpc/hpack.ts";

const read = (hex: string) => Object.fromEntries(readHeaders(Buffer.from(hex.replaceAll(" ", ""), "hex")));

// The examples are those of RFC 7541, appendix C, as far as they need no table of earlier fields.
test("fields are read by their number, by their name's number and in full, as they are and packed", () => {
  assert.deepEqual(read("82"), { ":method": "GET" });
  assert.deepEqual(read("040c 2f73 616d 706c 652f 7061 7468"), { ":path": "/sample/path" });
  assert.deepEqual(read("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"), {
    "custom-key": "custom-header",
  });
  assert.deepEqual(read("1008 7061 7373 776f 7264 0673 6563 7265 74"), { password: "secret" });
  assert.deepEqual(read("20 8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"), {
    ":method": "GET",
    ":scheme": "http",
    ":path": "/",
    ":authority": "www.example.com",
  });
  const reply =
    "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
  assert.deepEqual(read(reply), {
    ":status": "302",
    "cache-control": "private",
    date: "Mon, 21 Oct 2013 20:13:21 GMT",
    location: "https://www.example.com",
  });
});

test("a block that is cut off, or names a field of a table that was not allowed, is refused", () => {
  assert.throws(() => read("be"), /field 62 of a table that it was not allowed/);
  assert.throws(() => read("80"), /field 0 of a table/);
  for (const cut of ["04", "040c", "040c 2f73", "40", "ff", "7f ff ff ff ff ff"]) assert.throws(() => read(cut), cut);
});

test("a field that comes again takes a byte; what does not fit into the peer's table is written in full each time", () => {
  const writer = new HeaderWriter();
  const fields = [
    [":method", "POST"],
    ["te", "trailers"],
  ] as const;
  const first = writer.write(fields);
  assert.ok(first.length > 20);
  assert.deepEqual([...writer.write(fields)], [0xbf, 0xbe]);
  const long = [["long", "x".repeat(5000)]] as const;
  assert.deepEqual(Object.fromEntries(readHeaders(writer.write(long))), { long: "x".repeat(5000) });
  assert.deepEqual(Object.fromEntries(readHeaders(writer.write(long))), { long: "x".repeat(5000) });
  assert.deepEqual([...writer.write(fields)], [0xbf, 0xbe]);
});
