/** Helm 4 against the API, without nodes: releases are objects, and what they hold is applied on the server's side. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { RunError } from "../../tools/run.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

interface Release {
  name: string;
  revision: string;
  status: string;
}
interface Revision {
  revision: number;
  status: string;
  description: string;
}

let server: ServerProcess;
let chart: string;
const inNamespace = ["-n", "releases"];
/** No node runs pods here. */
const values = (tag: string) => ["--set", `replicaCount=0,image.tag=${tag}`];

before(async () => {
  server = await startServerProcess();
  chart = join(server.directory, "web");
  await server.helm(["create", chart]);
});
after(() => server?.stop());

const image = () =>
  server.kubectl(["get", "deployment", "site-web", ...inNamespace, "-o", "jsonpath={..containers[0].image}"]);
const history = async () =>
  JSON.parse(await server.helm(["history", "site", ...inNamespace, "-o", "json"])) as Revision[];

test("template needs no cluster, and a dry run on the server keeps nothing", async () => {
  assert.match(await server.helm(["template", "site", chart]), /^kind: Deployment$/m);
  const args = ["install", "site", chart, "-n", "default", "--dry-run=server", ...values("1")];
  assert.match(await server.helm(args), /^STATUS: pending-install$/m);
  assert.equal((await server.tryKubectl(["get", "deployment", "site-web"])).code, 1);
});

test("install creates the namespace, what the chart holds, and the release", async () => {
  const told = await server.helm([
    "install",
    "site",
    chart,
    "--create-namespace",
    "--wait",
    ...inNamespace,
    ...values("1"),
  ]);
  assert.match(told, /^STATUS: deployed$/m);
  const objects = await server.kubectl(["get", "deployment,service,serviceaccount", ...inNamespace, "-o", "name"]);
  for (const name of ["deployment.apps/site-web", "service/site-web", "serviceaccount/site-web"]) {
    assert.ok(objects.split("\n").includes(name), name);
  }
  const [release] = JSON.parse(await server.helm(["list", ...inNamespace, "-o", "json"])) as Release[];
  assert.deepEqual([release?.name, release?.revision, release?.status], ["site", "1", "deployed"]);
  const secret = await server.kubectlJson<{ type: string }>([
    "get",
    "secret",
    "sh.helm.release.v1.site.v1",
    ...inNamespace,
  ]);
  assert.equal(secret.type, "helm.sh/release.v1");
});

test("its objects belong to Helm by server-side apply", async () => {
  const { metadata } = await server.kubectlJson<{
    metadata: { managedFields: { manager: string; operation: string }[] };
  }>(["get", "service", "site-web", ...inNamespace, "--show-managed-fields"]);
  assert.deepEqual(
    metadata.managedFields.map(({ manager, operation }) => `${manager} ${operation}`),
    ["helm Apply"],
  );
});

test("upgrade changes what differs, and nothing else", async () => {
  const version = () =>
    server.kubectl(["get", "service", "site-web", ...inNamespace, "-o", "jsonpath={.metadata.resourceVersion}"]);
  const before = await version();
  await server.helm(["upgrade", "site", chart, ...inNamespace, ...values("2")]);
  assert.equal(await image(), "nginx:2");
  assert.equal(await version(), before);
});

test("upgrade fails on a field that somebody else took, and takes it back when forced", async () => {
  await server.kubectl(["set", "image", "deployment/site-web", "web=example.com/other:1", ...inNamespace]);
  const upgrade = ["upgrade", "site", chart, ...inNamespace, ...values("3")];
  await assert.rejects(server.helm(upgrade), (error) => {
    assert.ok(error instanceof RunError);
    assert.match(
      error.stderr,
      /conflict occurred while applying object releases\/site-web apps\/v1, Kind=Deployment: Apply failed with 1 conflict: conflict with "kubectl-set" using apps\/v1: \.spec\.template\.spec\.containers\[name="web"\]\.image/,
    );
    return true;
  });
  assert.equal(await image(), "example.com/other:1");
  await server.helm([...upgrade, "--force-conflicts"]);
  assert.equal(await image(), "nginx:3");
});

test("rollback brings an old revision back as a new one", async () => {
  await server.helm(["rollback", "site", "1", ...inNamespace]);
  assert.equal(await image(), "nginx:1");
  const revisions = await history();
  assert.deepEqual(
    revisions.map(({ status }) => status),
    ["superseded", "superseded", "failed", "superseded", "deployed"],
  );
  assert.equal(revisions.at(-1)?.description, "Rollback to 1");
});

test("a release that is applied on the client's side upgrades, too", async () => {
  const on = ["client", chart, ...inNamespace, "--server-side=false"];
  await server.helm(["install", ...on, ...values("1")]);
  await server.helm(["upgrade", ...on, ...values("2")]);
  const patched = ["get", "deployment", "client-web", ...inNamespace, "-o", "jsonpath={..containers[0].image}"];
  assert.equal(await server.kubectl(patched), "nginx:2");
});

test("uninstall takes everything away", async () => {
  for (const release of ["site", "client"]) await server.helm(["uninstall", release, "--wait", ...inNamespace]);
  assert.equal(await server.helm(["list", "-q", ...inNamespace]), "");
  assert.equal(await server.kubectl(["get", "deployment,service,secret", ...inNamespace, "-o", "name"]), "");
});
