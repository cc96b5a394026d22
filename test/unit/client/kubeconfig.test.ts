import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readKubeconfig } from "../../../src/client/kubeconfig.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const text = (user: string) => `apiVersion: v1
kind: Config
current-context: one
clusters:
- name: c
  cluster: { server: "https://127.0.0.1:6443/", certificate-authority: ca.crt }
contexts:
- name: one
  context: { cluster: c, user: u, namespace: apps }
- name: broken
  context: { cluster: missing, user: u }
users:
- name: u
  user: ${user}
`;

test("files are found beside the kubeconfig and read again at each connection; data is decoded", async (t) => {
  const folder = temporaryDirectory(t);
  const path = join(folder, "config");
  writeFileSync(path, text(`{ client-certificate-data: ${btoa("cert")}, client-key-data: ${btoa("key")} }`));
  writeFileSync(join(folder, "ca.crt"), "first");
  const { server, namespace, ca, cert } = await readKubeconfig(path);
  assert.deepEqual([server, namespace, String(cert)], ["https://127.0.0.1:6443", "apps", "cert"]);
  const read = ca as () => Promise<Buffer>;
  assert.equal(String(await read()), "first");
  writeFileSync(join(folder, "ca.crt"), "second");
  assert.equal(String(await read()), "second");
});

test("what is missing or not built is named", async () => {
  await assert.rejects(readKubeconfig(text("{}"), { context: "two" }), /context "two" does not exist/);
  await assert.rejects(readKubeconfig(text("{}"), { context: "broken" }), /cluster "missing" does not exist/);
  await assert.rejects(readKubeconfig(text("{ exec: { command: x } }")), /user "u": exec is not supported/);
  await assert.rejects(readKubeconfig("kind: Config\n"), /current-context is not set/);
});

test("a token comes as it is, without a namespace it is default", async () => {
  const connection = await readKubeconfig(text("{ token: secret }").replace(", namespace: apps", ""));
  assert.deepEqual([connection.token, connection.namespace], ["secret", "default"]);
});
