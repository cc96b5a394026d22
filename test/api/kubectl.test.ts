import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createApiServer } from "../../src/apiserver/api-server.ts";
import { x509Authenticator } from "../../src/apiserver/authentication/x509.ts";
import { listen } from "../../src/apiserver/listener.ts";
import { clusterClock, ioClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { kubectl, kubectlJson, startKubectl, tryKubectl } from "../support/kubectl.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";
import { makeCertificate } from "../unit/apiserver/certificates.ts";

/** An API server on a real port, and a kubeconfig of its administrator. No controllers, no nodes. */
async function startServer(t: TestContext): Promise<{ kubeconfig: string }> {
  const directory = temporaryDirectory(t);
  const authority = await makeCertificate({ subject: "CN=test-ca" });
  const serving = await makeCertificate({
    subject: "CN=kube-apiserver",
    issuer: authority,
    dnsNames: ["localhost"],
    usage: "server",
  });
  const admin = await makeCertificate({
    subject: "O=system:masters, CN=system:admin",
    issuer: authority,
    usage: "client",
  });
  const { generateKeyPairSync } = await import("node:crypto");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const store = await openSqliteStore({ path: join(directory, "state.db"), logger: silentLogger, clock: clusterClock });
  const api = await createApiServer({
    store,
    clusterClock,
    logger: silentLogger,
    authenticators: [x509Authenticator({ clientAuthority: authority.certificate, clock: ioClock })],
    serviceAccounts: {
      issuer: "https://kubernetes.default.svc.cluster.local",
      audiences: ["https://kubernetes.default.svc.cluster.local"],
      keys: privateKey.export({ type: "pkcs8", format: "pem" }),
    },
    kubeletClient: { ca: authority.certificate, cert: admin.certificate, key: admin.key },
    serviceCidr: "10.43.0.0/16",
    nodePortRange: { from: 30000, to: 32767 },
    clusterDomain: "cluster.local",
    advertise: { address: "192.0.2.1", port: 6443 },
    dialNode: () => Promise.reject(new Error("no node is connected")),
    version: "v1.36.4+k3ts1",
  });
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    tls: { cert: serving.certificate, key: serving.key, ca: authority.certificate },
    logger: silentLogger,
    handle: api.handle,
    upgrade: api.upgrade,
  });
  await api.ready();
  await api
    .client({ name: "test", groups: ["system:masters"] })
    .create(
      { group: "", version: "v1", resource: "serviceaccounts", kind: "ServiceAccount", namespaced: true },
      { metadata: { name: "default", namespace: "default" } },
    );
  t.after(async () => {
    await listener.close();
    await api.stop();
    await store.close();
  });
  const encoded = (pem: string) => Buffer.from(pem).toString("base64");
  const kubeconfig = join(directory, "kubeconfig");
  const cluster = {
    server: `https://localhost:${listener.port}`,
    "certificate-authority-data": encoded(authority.certificate),
  };
  const user = { "client-certificate-data": encoded(admin.certificate), "client-key-data": encoded(admin.key) };
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster }],
      users: [{ name: "test", user }],
      contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
      "current-context": "test",
    }),
  );
  return { kubeconfig };
}

const manifest = (replicas: number) => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]
`;

test("kubectl works with the API server", async (t) => {
  const on = await startServer(t);

  await t.test("apply creates, leaves alone what is the same, and changes what differs", async () => {
    const apply = (replicas: number) => kubectl(["apply", "-f", "-"], { ...on, input: manifest(replicas) });
    assert.equal((await apply(2)).trim(), "deployment.apps/web created");
    assert.equal((await apply(2)).trim(), "deployment.apps/web unchanged");
    assert.equal((await apply(3)).trim(), "deployment.apps/web configured");
    const { spec } = await kubectlJson<{ spec: { replicas: number } }>(["get", "deploy", "web"], on);
    assert.equal(spec.replicas, 3);
  });

  await t.test("server-side apply, diff, scale, label, annotate, set, replace", async () => {
    await kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], { ...on, input: manifest(3) });
    const diff = await tryKubectl(["diff", "-f", "-"], { ...on, input: manifest(5) });
    assert.equal(diff.code, 1, "differences are told by the exit code");
    assert.match(diff.stdout, /\+ {2}replicas: 5/);
    await kubectl(["scale", "deploy/web", "--replicas=4"], on);
    await kubectl(["label", "deploy/web", "tier=front"], on);
    await kubectl(["annotate", "deploy/web", "note=x"], on);
    await kubectl(["set", "image", "deploy/web", "web=nginx:2"], on);
    const { items } = await kubectlJson<{ items: { spec: { replicas: number } }[] }>(
      ["get", "deploy", "-l", "tier=front"],
      on,
    );
    assert.equal(items[0]?.spec.replicas, 4);
  });

  await t.test("typed commands, which send protobuf, create their objects", async () => {
    await kubectl(["create", "configmap", "settings", "--from-literal=a=1"], on);
    await kubectl(["create", "secret", "generic", "hidden", "--from-literal=a=1"], on);
    await kubectl(["create", "job", "once", "--image=busybox", "--", "sleep", "1"], on);
    await kubectl(["create", "quota", "small", "--hard=cpu=1,pods=2"], on);
    await kubectl(["create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=50%"], on);
    await kubectl(["expose", "deploy/web", "--port=80", "--target-port=http"], on);
    const service = await kubectlJson<{ spec: { clusterIP: string; ports: { targetPort: unknown }[] } }>(
      ["get", "svc", "web"],
      on,
    );
    assert.match(service.spec.clusterIP, /^10\.43\./);
    assert.equal(service.spec.ports[0]?.targetPort, "http");
    const quota = await kubectlJson<{ spec: object }>(["get", "quota", "small"], on);
    assert.deepEqual(quota.spec, { hard: { cpu: "1", pods: "2" } });
    const budget = await kubectlJson<{ spec: { minAvailable: unknown } }>(["get", "pdb", "web"], on);
    assert.equal(budget.spec.minAvailable, "50%");
  });

  await t.test("a List is validated by kubectl itself, with OpenAPI v2 in protobuf", async () => {
    const list = (field: string) =>
      `{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: listed}, ${field}: {a: b}}]}`;
    assert.match(await kubectl(["create", "-f", "-"], { ...on, input: list("data") }), /configmap\/listed created/);
    const typo = await tryKubectl(["apply", "-f", "-"], { ...on, input: list("dota") });
    assert.match(typo.stderr, /ValidationError\(ConfigMap\): unknown field "dota"/);
  });

  await t.test("get prints tables, explain knows fields, a typo is refused by the server", async () => {
    assert.match(await kubectl(["get", "deploy"], on), /^NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nweb +0\/4 /);
    assert.match(await kubectl(["explain", "deployment.spec.replicas"], on), /FIELD: replicas <integer>/);
    const typo = await tryKubectl(["apply", "-f", "-"], { ...on, input: manifest(1).replace("image:", "imgae:") });
    assert.notEqual(typo.code, 0);
    assert.match(typo.stderr, /unknown field "spec\.template\.spec\.containers\[0\]\.imgae"/);
    assert.match(
      await kubectl(["api-resources", "--api-group=apps"], on),
      /deployments +deploy +apps\/v1 +true +Deployment/,
    );
    assert.match(await kubectl(["auth", "whoami"], on), /system:admin/);
  });

  await t.test("a watch shows changes as they come, and delete waits for its end", async () => {
    const watch = startKubectl(["get", "configmaps", "-w"], on);
    await watch.waitFor(/settings +1 /);
    await kubectl(["patch", "configmap", "settings", "-p", '{"data":{"b":"2"}}'], on);
    await watch.waitFor(/settings +2 /);
    await watch.stop();
    assert.equal((watch.output().match(/NAME/g) ?? []).length, 1, "columns are named once");
    assert.match(await kubectl(["delete", "configmap", "settings"], on), /configmap "settings" deleted/);
    assert.match((await tryKubectl(["get", "configmap", "settings"], on)).stderr, /configmaps "settings" not found/);
  });
});
