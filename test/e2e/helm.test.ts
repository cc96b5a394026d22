import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Deployment } from "../../src/api/generated/apps-v1.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

/** The life of a release with Helm 4: the chart that `helm create` makes, with the test image in place of its own. */

let cluster: TestCluster;
let directory: string;
let chart: string;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "k3ts-helm-"));
  chart = join(directory, "web");
  cluster = await createTestCluster({ images: ["k3ts/test-web:1.0"] });
  await cluster.helm(["create", chart]);
  replaceIn("values.yaml", "repository: nginx", "repository: k3ts/test-web");
  replaceIn("values.yaml", 'tag: ""', 'tag: "1.0"');
  replaceIn("templates/tests/test-connection.yaml", "image: busybox", "image: k3ts/test-web:1.0");
});
after(async () => {
  await cluster?.remove();
  rmSync(directory, { recursive: true, force: true });
});

function replaceIn(file: string, from: string, to: string): void {
  const path = join(chart, file);
  const text = readFileSync(path, "utf8");
  assert.ok(text.includes(from), `${file} has no "${from}"`);
  writeFileSync(path, text.replace(from, to));
}

const helm = (line: string) => cluster.helm(line.split(" "));
const wait = "--wait --timeout 180s";

async function deployment(): Promise<Deployment> {
  return cluster.kubectlJson<Deployment>(["get", "deployment", "shop-web"]);
}

async function release(): Promise<{ revision: string; status: string }> {
  const [found] = JSON.parse(await helm("list -o json")) as { revision: string; status: string }[];
  return found!;
}

test("install reaches deployed, with its pods ready", async () => {
  const output = await helm(`install shop ${chart} ${wait}`);
  assert.match(output, /^STATUS: deployed$/m);
  const { status } = await deployment();
  assert.equal(status!.readyReplicas, 1);
  assert.deepEqual(await release().then(({ revision, status }) => ({ revision, status })), {
    revision: "1",
    status: "deployed",
  });
});

test("the chart's own test passes", async () => {
  assert.match(await helm("test shop --timeout 180s"), /^Phase: +Succeeded$/m);
});

test("upgrade changes what the values change and removes what they no longer ask for", async () => {
  await helm(
    `upgrade shop ${chart} ${wait} --set replicaCount=2,podAnnotations.seen=yes,service.type=NodePort,serviceAccount.create=false`,
  );
  const { spec, status } = await deployment();
  assert.equal(status!.readyReplicas, 2);
  assert.deepEqual(spec!.template.metadata!.annotations, { seen: "yes" });
  assert.equal(await cluster.kubectl(["get", "service", "shop-web", "-o", "jsonpath={.spec.type}"]), "NodePort");
  assert.equal(await cluster.kubectl(["get", "serviceaccount", "shop-web", "--ignore-not-found"]), "");
});

test("an upgrade without a change leaves every object as it is", async () => {
  const before = await deployment();
  await helm(`upgrade shop ${chart} ${wait} --reuse-values`);
  const after = await deployment();
  assert.equal(after.metadata.generation, before.metadata.generation);
});

test("a field that somebody else changed is a conflict, which can be forced", async () => {
  await cluster.kubectl(["scale", "deployment/shop-web", "--replicas=3"]);
  await assert.rejects(helm(`upgrade shop ${chart} --reuse-values`), /conflict.*\.spec\.replicas/s);
  await helm(`upgrade shop ${chart} ${wait} --reuse-values --force-conflicts`);
  assert.equal((await deployment()).spec!.replicas, 2);
});

test("an upgrade that fails goes back when it is told to", async () => {
  // The time is also the way back's: it must do for a slow machine.
  await assert.rejects(
    helm(`upgrade shop ${chart} --reuse-values --set image.tag=none --wait --timeout 20s --rollback-on-failure`),
  );
  assert.equal((await release()).status, "deployed");
  assert.equal((await deployment()).spec!.template.spec!.containers[0]!.image, "k3ts/test-web:1.0");
});

test("rollback brings the first revision back", async () => {
  await helm(`rollback shop 1 ${wait}`);
  const { spec } = await deployment();
  assert.equal(spec!.replicas, 1);
  assert.equal(spec!.template.metadata!.annotations, undefined);
  assert.equal(await cluster.kubectl(["get", "service", "shop-web", "-o", "jsonpath={.spec.type}"]), "ClusterIP");
  await cluster.kubectl(["get", "serviceaccount", "shop-web"]);
  assert.match(await helm("history shop"), /Rollback to 1/);
});

test("uninstall leaves nothing", async () => {
  await helm(`uninstall shop ${wait}`);
  const kinds = "deployment,replicaset,service,serviceaccount,secret,pod";
  // Helm waits for what it made itself; what the Deployment made is collected after it.
  await eventually(async () => {
    const left = await cluster.kubectl(["get", kinds, "-l", "app.kubernetes.io/instance=shop", "-o", "name"]);
    // The pod of a test stays: Helm does not count hooks to the release.
    assert.equal(left.trim(), "pod/shop-web-test-connection");
  }, 60_000);
  assert.equal(await cluster.kubectl(["get", "secret", "-l", "owner=helm", "-o", "name"]), "");
});
