import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Logger } from "../../../../src/machinery/log.ts";
import { EtcdLog } from "../../../../src/server/etcd/etcd-log.ts";

function recorder() {
  const lines: unknown[][] = [];
  const at =
    (level: string) =>
    (...args: unknown[]) =>
      void lines.push([level, ...args]);
  const logger = { child: () => logger } as unknown as Logger;
  for (const level of ["debug", "info", "warn", "error", "fatal"] as const) logger[level] = at(level);
  let changes = 0;
  const log = new EtcdLog(logger, () => changes++);
  return { lines, log, changes: () => changes };
}

describe("etcd's log", () => {
  test("becomes part of ours, by level, whole lines at a time", () => {
    const { lines, log } = recorder();
    log.write('{"level":"info","ts":"x","caller":"y","msg":"starting","name":"one"}\n{"level":"warn","msg":"slow di');
    log.write('sk","took":"2s"}\n{"level":"fatal","msg":"gone","error":"no space"}\n');
    assert.deepEqual(lines, [
      ["debug", { name: "one" }, "starting"],
      ["warn", { took: "2s" }, "slow disk"],
      ["error", { error: "no space" }, "gone"],
    ]);
    assert.equal(log.tail(), "slow disk\ngone: no space");
  });

  test("of a program that could not run, or panicked, is passed on as it is", () => {
    const { lines, log } = recorder();
    log.write("setpriv: failed to execute etcd: No such file or directory\n");
    assert.deepEqual(lines, [["warn", "setpriv: failed to execute etcd: No such file or directory"]]);
    assert.match(log.tail(), /failed to execute etcd/);
  });

  test("tells that the member was removed", () => {
    const { log } = recorder();
    assert.equal(log.removed, false);
    log.write(
      '{"level":"warn","msg":"server error","error":"the member has been permanently removed from the cluster"}\n',
    );
    assert.equal(log.removed, true);
  });

  test("tells when members come, go or change, or when this one answers again", () => {
    const { log, changes } = recorder();
    log.write('{"level":"info","msg":"established TCP streaming connection"}\n');
    assert.equal(changes(), 0);
    for (const text of ["added member", "promote member", "removed member", "ready to serve client requests"])
      log.write(`{"level":"info","msg":"${text}"}\n`);
    assert.equal(changes(), 4);
  });
});
