import assert from "node:assert/strict";
import { test } from "node:test";
import { missingForwardRules } from "../../../../src/agent/network/forwarding.ts";

const cidr = "10.42.0.0/16";
const rules = `-A FLANNEL-FWD -s ${cidr} -j ACCEPT\n-A FLANNEL-FWD -d ${cidr} -j ACCEPT\n`;

test("a firewall that knows nothing of pods gets a chain for them, ahead of everything else", () => {
  assert.equal(
    missingForwardRules("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n", cidr),
    `*filter\n:FLANNEL-FWD - [0:0]\n${rules}-I FORWARD 1 -j FLANNEL-FWD\nCOMMIT\n`,
  );
});

test("a firewall that has it all gets nothing", () => {
  assert.equal(missingForwardRules(`-P FORWARD DROP\n-A FORWARD -j FLANNEL-FWD\n${rules}`, cidr), undefined);
});

test("rules of another pod network are replaced, and the jump to them is not repeated", () => {
  const other = rules.replaceAll("10.42", "10.44");
  assert.equal(
    missingForwardRules(`-A FORWARD -j FLANNEL-FWD\n${other}`, cidr),
    `*filter\n:FLANNEL-FWD - [0:0]\n${rules}COMMIT\n`,
  );
});
