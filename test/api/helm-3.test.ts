/** Helm 3, which most charts are still installed with: it patches on the client's side. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { useTools } from "../support/kubectl.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

let server: ServerProcess;
let chart: string;
const inNamespace = ["-n", "three"];
const values = (tag: string) => ["--set", `replicaCount=0,image.tag=${tag}`];

before(async () => {
  useTools("1.32");
  server = await startServerProcess();
  chart = join(server.directory, "web");
  await server.helm(["create", chart]);
});
after(() => server?.stop());

const image = () =>
  server.kubectl(["get", "deployment", "site-web", ...inNamespace, "-o", "jsonpath={..containers[0].image}"]);

test("installs, upgrades, rolls back and uninstalls a release", async () => {
  assert.match(await server.helm(["version", "--short"]), /^v3\./);
  await server.helm(["install", "site", chart, "--create-namespace", "--wait", ...inNamespace, ...values("1")]);
  const first = await image();
  await server.helm(["upgrade", "site", chart, "--wait", ...inNamespace, ...values("2")]);
  assert.notEqual(await image(), first);
  await server.helm(["rollback", "site", "1", "--wait", ...inNamespace]);
  assert.equal(await image(), first);
  const history = JSON.parse(await server.helm(["history", "site", ...inNamespace, "-o", "json"]));
  assert.deepEqual(
    history.map(({ status }: { status: string }) => status),
    ["superseded", "superseded", "deployed"],
  );
  await server.helm(["uninstall", "site", "--wait", ...inNamespace]);
  assert.equal(await server.kubectl(["get", "deployment,service,secret", ...inNamespace, "-o", "name"]), "");
});
