import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatIp, parseCidr, parseIp } from "../../../src/machinery/cidr.ts";

test("ranges give their addresses and node subnets", () => {
  const cluster = parseCidr("10.42.0.7/16");
  assert.equal(cluster.toString(), "10.42.0.0/16");
  assert.equal(cluster.subnet(24, 2).toString(), "10.42.2.0/24");
  assert.equal([...cluster.subnets(24)].length, 256);
  assert.throws(() => cluster.subnet(24, 256), RangeError);
  const services = parseCidr("10.43.0.0/16");
  assert.equal(services.nth(10), "10.43.0.10");
  assert.equal(services.nth(-1), "10.43.255.255");
  assert.equal(services.contains("10.43.200.1"), true);
  assert.equal(services.contains("10.44.0.0"), false);
  assert.equal(services.overlaps(cluster), false);
  assert.equal(services.indexOf("10.43.1.0"), 256n);
  assert.equal(parseCidr("fd00:42::/56").subnet(64, 1).toString(), "fd00:42:0:1::/64");
});

test("what is no address is refused", () => {
  for (const text of ["", "1.2.3", "1.2.3.256", "01.2.3.4", "1:2:3:4:5:6:7", "::1::", "1:2:3:4:5:6:7:8:9", "g::"]) {
    assert.equal(parseIp(text), undefined, text);
  }
  assert.throws(() => parseCidr("10.0.0.0/33"), { message: "invalid CIDR address: 10.0.0.0/33" });
  assert.throws(() => parseCidr("10.0.0.0"), /invalid CIDR address/);
});

test("addresses print in canonical form", () => {
  assert.equal(formatIp(parseIp("2001:DB8:0:0:1:0:0:1")!), "2001:db8::1:0:0:1");
  assert.equal(formatIp(parseIp("::")!), "::");
  assert.equal(formatIp(parseIp("::ffff:1.2.3.4")!), "::ffff:1.2.3.4");
  assert.equal(formatIp(parseIp("1:0:2:3:4:5:6:7")!), "1:0:2:3:4:5:6:7");
  fc.assert(
    fc.property(fc.ipV6(), (text) => formatIp(parseIp(formatIp(parseIp(text)!))!) === formatIp(parseIp(text)!)),
  );
  fc.assert(fc.property(fc.ipV4(), (text) => formatIp(parseIp(text)!) === text));
});
