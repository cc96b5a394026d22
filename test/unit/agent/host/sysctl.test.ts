import assert from "node:assert/strict";
import { test } from "node:test";
import { readSysctl, writeSysctl } from "../../../../src/agent/host/sysctl.ts";

test("a parameter is read; an unknown one is undefined", async () => {
  assert.equal(await readSysctl("kernel/ostype"), "Linux");
  assert.equal(await readSysctl("net/no/such"), undefined);
});

test("a value that stands already is not written, since some parameters are read-only", async () => {
  await writeSysctl("kernel/ostype", "Linux");
  await assert.rejects(
    writeSysctl("kernel/ostype", "Other"),
    /^Error: set kernel parameter "kernel.ostype" to "Other": it is "Linux": /,
  );
  await assert.rejects(writeSysctl("net/no/such", "1"), /"net.no.such" to "1": it does not exist/);
});
