import "reflect-metadata";
import assert from "node:assert/strict";
import { webcrypto, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import * as x509 from "@peculiar/x509";
import { certificateSigningRequests } from "../../../src/api/generated/certificates-v1.ts";
import { clusterRoleBindings } from "../../../src/api/generated/rbac-v1.ts";
import { lifetimeMs, removalMs, whyNotSigned } from "../../../src/controllers/certificate-plan.ts";
import { certificateController } from "../../../src/controllers/certificates.ts";
import { clusterClock } from "../../../src/machinery/clock.ts";
import { certificateAuthority } from "../../../src/server/certificate-authority.ts";
import { prepareCertificates } from "../../../src/server/certificates.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

x509.cryptoProvider.set(webcrypto as never);

async function requestFor(name: string, names: x509.JsonGeneralNames = []): Promise<string> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const extensions = names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : [];
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name,
    keys,
    extensions,
    signingAlgorithm: algorithm,
  });
  return Buffer.from(`${made.toString("pem")}\n`).toString("base64");
}

test("[sig-auth] Certificates: kubelets' requests are approved by permission, approved ones signed, wrong ones failed", async (t) => {
  const certificates = await prepareCertificates(join(temporaryDirectory(t), "tls"), ["localhost"]);
  const authority = certificateAuthority({
    server: certificates.serverCa,
    client: certificates.clientCa,
    clock: clusterClock,
  });
  const { client, clientAs } = await startControlPlane(t, {
    controllers: [certificateController],
    config: { certificateAuthority: authority },
  });
  const create = async (name: string, by: ReturnType<typeof clientAs>, spec: object) =>
    by.create(certificateSigningRequests, { metadata: { name }, spec: spec as never });
  const issued = (name: string) =>
    eventually(async () => {
      const { status } = await client.get(certificateSigningRequests, name);
      assert.ok(status?.certificate, JSON.stringify(status));
      return new X509Certificate(Buffer.from(status.certificate, "base64"));
    });
  const decide = async (name: string) => {
    const request = structuredClone(await client.get(certificateSigningRequests, name));
    request.status = { conditions: [{ type: "Approved", status: "True", reason: "ByTest", message: "yes" }] };
    await client.update(certificateSigningRequests, request, { subresource: "approval" });
  };

  const kubelet = "kubernetes.io/kube-apiserver-client-kubelet";
  const usages = ["digital signature", "client auth"];
  const node = await requestFor("CN=system:node:one, O=system:nodes");
  await client.create(clusterRoleBindings, {
    metadata: { name: "renewal" },
    roleRef: {
      apiGroup: "rbac.authorization.k8s.io",
      kind: "ClusterRole",
      name: "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    },
    subjects: [{ kind: "Group", name: "system:nodes", apiGroup: "rbac.authorization.k8s.io" }],
  });
  const one = clientAs("system:node:one", ["system:nodes"]);
  await eventually(() => create("renewal", one, { request: node, signerName: kubelet, usages }));
  const certificate = await issued("renewal");
  assert.ok(certificate.verify(new X509Certificate(certificates.clientCa.certificate).publicKey));
  assert.deepEqual(certificate.subject.split("\n").sort(), ["CN=system:node:one", "O=system:nodes"]);
  assert.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.2"]);
  const { status } = await client.get(certificateSigningRequests, "renewal");
  assert.equal(status?.conditions?.[0]?.reason, "AutoApproved");
  assert.match(status?.conditions?.[0]?.message ?? "", /^Auto approving self kubelet client certificate/);

  // A serving certificate waits for a person, and comes from the other authority with the names that it asks for.
  const serving = await requestFor("CN=system:node:one, O=system:nodes", [
    { type: "dns", value: "one.example.com" },
    { type: "ip", value: "192.0.2.7" },
  ]);
  const servingSpec = {
    request: serving,
    signerName: "kubernetes.io/kubelet-serving",
    usages: ["digital signature", "server auth"],
    expirationSeconds: 3600,
  };
  await create("serving", one, servingSpec);
  await decide("serving");
  const served = await issued("serving");
  assert.ok(served.verify(new X509Certificate(certificates.serverCa.certificate).publicKey));
  assert.equal(served.subjectAltName, "DNS:one.example.com, IP Address:192.0.2.7");
  const livesMs = Date.parse(served.validTo) - Date.now();
  assert.ok(livesMs > 3_000_000 && livesMs <= 3_600_000, String(livesMs));

  const wrong = await requestFor("CN=eve");
  await create("wrong", client, {
    request: wrong,
    signerName: "kubernetes.io/kube-apiserver-client",
    usages: ["server auth"],
  });
  await decide("wrong");
  await eventually(async () => {
    const { status } = await client.get(certificateSigningRequests, "wrong");
    const failed = status?.conditions?.find(({ type }) => type === "Failed");
    assert.deepEqual(
      [failed?.reason, failed?.message],
      ["SignerValidationFailure", "invalid usage for client certificate: server auth"],
    );
  });
  await create("other", client, { request: wrong, signerName: "example.com/mine", usages: ["client auth"] });
  await decide("other");
  await create("legacy", client, {
    request: wrong,
    signerName: "kubernetes.io/kube-apiserver-client",
    usages: ["client auth"],
  });
  await decide("legacy");
  await issued("legacy");
  assert.equal((await client.get(certificateSigningRequests, "other")).status?.certificate, undefined);
});

test("certificate requests are kept for an hour after their end, and for a day while nobody decides", () => {
  const at = "2026-01-01T00:00:00Z";
  const after = (status: object, metadata: object = { creationTimestamp: at }) =>
    (removalMs({ metadata, spec: {} as never, status }) - Date.parse(at)) / 3_600_000;
  const condition = (type: string) => ({ type, status: "True", lastUpdateTime: at });
  assert.equal(after({}), 24);
  assert.equal(after({ conditions: [condition("Denied")] }), 1);
  assert.equal(after({ conditions: [condition("Approved")] }), 24);
  assert.equal(after({ conditions: [condition("Approved")], certificate: "AAAA" }), 1);
});

test("a certificate lives as long as asked, between ten minutes and a year", () => {
  const of = (expirationSeconds?: number) =>
    lifetimeMs({ metadata: {}, spec: { expirationSeconds } as never }) / 60_000;
  assert.deepEqual([of(), of(60), of(3600), of(10 ** 9)], [525_600, 10, 60, 525_600]);
});

test("a serving certificate needs a node's name, names to serve, and no others' usages", () => {
  const facts = {
    commonName: "system:node:a",
    organizations: ["system:nodes"],
    dnsNames: ["a"],
    ipAddresses: [],
    emailAddresses: [],
    uris: [],
  };
  const why = (more: object, usages = ["digital signature", "server auth"]) =>
    whyNotSigned("kubernetes.io/kubelet-serving", { ...facts, ...more }, usages);
  assert.equal(why({}), undefined);
  assert.equal(why({ dnsNames: [] }), "DNS or IP subjectAltName is required");
  assert.equal(why({ organizations: [] }), "subject organization is not system:nodes");
  assert.equal(why({ uris: ["spiffe://x"] }), "URI subjectAltNames are not allowed");
  assert.equal(why({}, ["client auth"]), "usages did not match [digital signature key encipherment server auth]");
});
