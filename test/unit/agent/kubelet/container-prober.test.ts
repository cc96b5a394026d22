import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cri } from "../../../../src/agent/containerd/cri.ts";
import { ContainerProber, type ContainerProberOptions } from "../../../../src/agent/kubelet/container-prober.ts";
import type { Container } from "../../../../src/api/generated/core-v1.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { container } from "./pod-fixture.ts";

/** A container whose checks answer what `exits` says for the command's first word. */
function rig(spec: Partial<Container>, exits: Record<string, number>, more: Partial<ContainerProberOptions> = {}) {
  const clock = new FakeClock();
  const failures: string[] = [];
  let changes = 0;
  const cri = {
    execSync: async (_: string, command: readonly string[]) => ({
      exitCode: exits[command[0]!] ?? 0,
      stdout: Buffer.from("out"),
      stderr: Buffer.alloc(0),
    }),
  } as unknown as Cri;
  const prober = new ContainerProber({
    target: { containerId: "c", container: container("main", spec), podIp: "127.0.0.1" },
    startedAtMs: clock.now(),
    before: undefined,
    cri,
    clock,
    onChange: () => changes++,
    onFailure: (kind, output) => failures.push(`${kind}: ${output}`),
    ...more,
  });
  return { clock, prober, failures, exits, changes: () => changes };
}
const exec = (name: string) => ({ exec: { command: [name] } });

test("without probes a container is started and ready", () => {
  const { prober } = rig({}, {});
  assert.deepEqual([prober.started, prober.ready], [true, true]);
});

test("readiness comes after its delay and threshold, goes after failures, and each change is told", async (t) => {
  const readinessProbe = {
    ...exec("r"),
    initialDelaySeconds: 5,
    periodSeconds: 10,
    successThreshold: 2,
    failureThreshold: 2,
  };
  const { clock, prober, exits, changes, failures } = rig({ readinessProbe }, {});
  t.after(() => prober.stop());
  await clock.advance(14_000);
  assert.equal(prober.ready, false);
  await clock.advance(1000);
  assert.deepEqual([prober.ready, changes()], [true, 1]);
  exits["r"] = 1;
  await clock.advance(10_000);
  assert.equal(prober.ready, true);
  await clock.advance(10_000);
  assert.deepEqual([prober.ready, changes(), failures], [false, 2, ["readiness: out", "readiness: out"]]);
  assert.equal(prober.unhealthy, undefined);
});

test("liveness waits for the startup probe; too many failures ask for a kill with the probe's own grace", async (t) => {
  const spec = {
    startupProbe: { ...exec("s"), periodSeconds: 1, failureThreshold: 30 },
    livenessProbe: { ...exec("l"), periodSeconds: 1, failureThreshold: 3, terminationGracePeriodSeconds: 7 },
  };
  const { clock, prober, exits } = rig(spec, { s: 1, l: 1 });
  t.after(() => prober.stop());
  await clock.advance(10_000);
  assert.deepEqual([prober.started, prober.ready, prober.unhealthy], [false, false, undefined]);
  exits["s"] = 0;
  await clock.advance(1000);
  assert.equal(prober.started, true);
  await clock.advance(2000);
  assert.deepEqual(prober.unhealthy, {
    message: "Container main failed liveness probe, will be restarted",
    graceSeconds: 7,
  });
});

test("a startup probe that never passes asks for a kill", async (t) => {
  const { clock, prober } = rig({ startupProbe: { ...exec("s"), periodSeconds: 1, failureThreshold: 2 } }, { s: 1 });
  t.after(() => prober.stop());
  await clock.advance(1000);
  assert.match(prober.unhealthy?.message ?? "", /failed startup probe/);
});

test("a container found again keeps what its status said until a probe says other", async (t) => {
  const spec = { startupProbe: exec("s"), readinessProbe: { ...exec("r"), failureThreshold: 1 } };
  const { clock, prober } = rig(spec, { r: 1 }, { before: { started: true, ready: true } });
  t.after(() => prober.stop());
  assert.deepEqual([prober.started, prober.ready], [true, true]);
  await clock.advance(1);
  assert.equal(prober.ready, false);
});

test("a stopped prober says nothing more", async () => {
  const { clock, prober, failures } = rig({ readinessProbe: { ...exec("r"), periodSeconds: 1 } }, { r: 1 });
  prober.stop();
  await clock.advance(60_000);
  assert.deepEqual(failures, []);
});
