import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultGateway } from "../../../src/server/container-host.ts";

const heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";

test("the gateway is that of the default route", () => {
  const routes = [
    heading,
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0",
    "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0",
    "",
  ].join("\n");
  assert.equal(defaultGateway(routes), "172.17.0.1");
});

test("without a default route, or with one that has no gateway, there is none", () => {
  assert.equal(defaultGateway(`${heading}\n`), undefined);
  assert.equal(defaultGateway(`${heading}\ntun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n`), undefined);
});
