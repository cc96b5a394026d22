import assert from "node:assert/strict";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { test } from "node:test";
import type { TokenRequest } from "../../../../src/api/generated/authentication-v1.ts";
import { pods, secrets, serviceAccounts } from "../../../../src/api/generated/core-v1.ts";
import { bootstrapTokenAuthenticator } from "../../../../src/apiserver/authentication/bootstrap-token.ts";
import { impersonate } from "../../../../src/apiserver/authentication/impersonation.ts";
import { requestHeaderAuthenticator } from "../../../../src/apiserver/authentication/request-header.ts";
import {
  serviceAccountAuthenticator,
  serviceAccountTokenAuthenticator,
} from "../../../../src/apiserver/authentication/service-account.ts";
import {
  jsonWebKeySet,
  readServiceAccountKeys,
} from "../../../../src/apiserver/authentication/service-account-keys.ts";
import { unionAuthenticator } from "../../../../src/apiserver/authentication/union.ts";
import { x509Authenticator } from "../../../../src/apiserver/authentication/x509.ts";
import type { ServerContext, UserInfo } from "../../../../src/apiserver/request.ts";
import { tokenSubresource } from "../../../../src/apiserver/subresources/token.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { makeCertificate } from "../certificates.ts";
import { MemoryClient } from "../memory-client.ts";

const authority = await makeCertificate({ subject: "CN=client-ca" });
const stranger = await makeCertificate({ subject: "CN=client-ca" });
const der = (pem: string) => new X509Certificate(pem).raw;
const refused = { code: 401, reason: "Unauthorized" };

test("a certificate of the client authority gives its name and organizations; others are refused", async () => {
  const clock = new FakeClock();
  const authenticate = x509Authenticator({ clientAuthority: authority.certificate, clock });
  const leaf = await makeCertificate({ subject: "CN=jane, O=staff, O=admins", issuer: authority, usage: "client" });
  const user = await authenticate({ headers: {}, clientCertificate: der(leaf.certificate) });
  assert.equal(user?.name, "jane");
  assert.deepEqual([...(user?.groups ?? [])].sort(), ["admins", "staff"]);
  assert.match(user?.extra?.["authentication.kubernetes.io/credential-id"]?.[0] ?? "", /^X509SHA256=[0-9a-f]{64}$/);

  const foreign = await makeCertificate({ subject: "CN=jane, O=system:masters", issuer: stranger, usage: "client" });
  await assert.rejects(authenticate({ headers: {}, clientCertificate: der(foreign.certificate) }), refused);
  const serving = await makeCertificate({ subject: "CN=jane", issuer: authority, usage: "server" });
  await assert.rejects(authenticate({ headers: {}, clientCertificate: der(serving.certificate) }), refused);
  assert.equal(await authenticate({ headers: {} }), undefined);
});

test("a certificate that was good is refused once it is out of its time", async () => {
  const clock = new FakeClock();
  const authenticate = x509Authenticator({ clientAuthority: authority.certificate, clock });
  const { certificate } = await makeCertificate({ subject: "CN=jane", issuer: authority, toMs: clock.now() + 60_000 });
  assert.equal((await authenticate({ headers: {}, clientCertificate: der(certificate) }))?.name, "jane");
  await clock.advance(61_000);
  await assert.rejects(authenticate({ headers: {}, clientCertificate: der(certificate) }), refused);
});

test("X-Remote headers count only with a certificate of the request-header authority", async () => {
  const clock = new FakeClock();
  const authenticate = requestHeaderAuthenticator({
    requestHeaderAuthority: authority.certificate,
    allowedNames: ["system:auth-proxy"],
    clock,
  });
  const headers = { "x-remote-user": "jane", "x-remote-group": "a, b", "x-remote-extra-scopes%2fx": "y" };
  const proxy = await makeCertificate({ subject: "CN=system:auth-proxy", issuer: authority, usage: "client" });
  const other = await makeCertificate({ subject: "CN=someone", issuer: authority, usage: "client" });
  const foreign = await makeCertificate({ subject: "CN=system:auth-proxy", issuer: stranger, usage: "client" });
  assert.deepEqual(await authenticate({ headers, clientCertificate: der(proxy.certificate) }), {
    name: "jane",
    groups: ["a", "b"],
    extra: { "scopes/x": ["y"] },
  });
  await assert.rejects(authenticate({ headers, clientCertificate: der(other.certificate) }), refused);
  assert.equal(await authenticate({ headers, clientCertificate: der(foreign.certificate) }), undefined);
  assert.equal(await authenticate({ headers }), undefined);
});

function makeTokens() {
  const client = new MemoryClient();
  const clock = new FakeClock();
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const keys = readServiceAccountKeys(privateKey.export({ type: "pkcs8", format: "pem" }));
  const issuer = "https://kubernetes.default.svc.cluster.local";
  const audiences = [issuer, "k3s"];
  const account = client.put(serviceAccounts, { metadata: { name: "robot", namespace: "a" } });
  const context = { client, ioClock: clock, clusterClock: clock } as unknown as ServerContext;
  const issue = async (
    spec: TokenRequest["spec"] = { audiences: [] },
    user: UserInfo = { name: "admin", groups: [] },
  ) => {
    const info = {
      isResource: true,
      path: "",
      verb: "create",
      group: "",
      version: "v1",
      namespace: "a",
      resource: "serviceaccounts",
      subresource: "token",
      name: "robot",
    };
    const body: TokenRequest = { metadata: {}, spec };
    const reply = await tokenSubresource({ issuer, audiences, keys })(context, { info, user, body, dryRun: false });
    return (reply.body as TokenRequest).status as { token: string; expirationTimestamp: string };
  };
  const options = { issuers: [issuer], audiences, keys, client: () => client, clock };
  const authenticate = serviceAccountAuthenticator(options);
  const withToken = (token: string) => authenticate({ headers: { authorization: `Bearer ${token}` } });
  return { client, clock, keys, account, issue, withToken, byAudience: serviceAccountTokenAuthenticator(options) };
}

test("a requested token authenticates its account until it expires", async () => {
  const { clock, account, issue, withToken } = makeTokens();
  const { token, expirationTimestamp } = await issue({ audiences: [], expirationSeconds: 600 });
  assert.equal(Date.parse(expirationTimestamp), clock.now() + 600_000);
  const user = await withToken(token);
  assert.equal(user?.name, "system:serviceaccount:a:robot");
  assert.equal(user?.uid, account.metadata.uid);
  assert.deepEqual(user?.groups, ["system:serviceaccounts", "system:serviceaccounts:a"]);
  await clock.advance(601_000);
  await assert.rejects(withToken(token), refused);
});

test("a token dies with its account, also when one of the same name is made again", async () => {
  const { client, issue, withToken } = makeTokens();
  const { token } = await issue();
  await withToken(token);
  await client.delete(serviceAccounts, "robot", { namespace: "a" });
  await assert.rejects(withToken(token), refused);
  client.put(serviceAccounts, { metadata: { name: "robot", namespace: "a" } });
  await assert.rejects(withToken(token), refused);
});

test("a pod's token names the pod and dies with it", async () => {
  const { client, issue, withToken } = makeTokens();
  const spec = { serviceAccountName: "robot", nodeName: "n1", containers: [] };
  const pod = client.put(pods, { metadata: { name: "p", namespace: "a" }, spec });
  const boundObjectRef = { kind: "Pod", apiVersion: "v1", name: "p", uid: pod.metadata.uid! };
  const { token } = await issue({ audiences: [], boundObjectRef });
  const user = await withToken(token);
  assert.deepEqual(user?.extra?.["authentication.kubernetes.io/pod-name"], ["p"]);
  assert.deepEqual(user?.extra?.["authentication.kubernetes.io/node-name"], ["n1"]);
  await client.delete(pods, "p", { namespace: "a" });
  await assert.rejects(withToken(token), refused);
  await assert.rejects(issue({ audiences: [], boundObjectRef }), /pods "p" not found/);
});

test("a kubelet gets tokens only for pods on its node", async () => {
  const { client, issue } = makeTokens();
  const spec = { serviceAccountName: "robot", nodeName: "n1", containers: [] };
  const pod = client.put(pods, { metadata: { name: "p", namespace: "a" }, spec });
  const request = {
    audiences: [],
    boundObjectRef: { kind: "Pod", apiVersion: "v1", name: "p", uid: pod.metadata.uid! },
  };
  const kubelet = (node: string) => ({ name: `system:node:${node}`, groups: ["system:nodes"] });
  assert.ok((await issue(request, kubelet("n1"))).token);
  await assert.rejects(issue(request, kubelet("n2")), /token bound to a pod scheduled on a different node/);
  await assert.rejects(issue({ audiences: [] }, kubelet("n1")), /node requested token not bound to a pod/);
});

test("a token for another audience is no token for the API server", async () => {
  const { issue, withToken, byAudience } = makeTokens();
  const { token } = await issue({ audiences: ["vault"] });
  await assert.rejects(withToken(token), refused);
  assert.deepEqual((await byAudience(token, ["vault", "x"]))?.audiences, ["vault"]);
});

test("a forged token is refused, and one of another issuer is left to others", async () => {
  const { issue, withToken } = makeTokens();
  const { token } = await issue();
  const [header, payload, signature] = token.split(".") as [string, string, string];
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  await assert.rejects(withToken(`${header}.${encode({ ...claims, sub: "x" })}.${signature}`), refused);
  const none = encode({ alg: "none" });
  await assert.rejects(withToken(`${none}.${payload}.`), refused);
  assert.equal(await withToken(`${header}.${encode({ ...claims, iss: "https://elsewhere" })}.${signature}`), undefined);
  assert.equal(await withToken("no token at all"), undefined);
});

test("a token request below ten minutes is refused with the field", async () => {
  const { issue } = makeTokens();
  await assert.rejects(
    issue({ audiences: [], expirationSeconds: 60 }),
    /spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes/,
  );
});

test("keys are published without their private part", () => {
  const { keys } = makeTokens();
  const [key] = jsonWebKeySet(keys).keys as Record<string, string>[];
  assert.equal(key?.["alg"], "ES256");
  assert.equal(key?.["kid"], keys.signing.kid);
  assert.equal(key?.["d"], undefined);
});

test("a bootstrap token is what its Secret says, while it lasts", async () => {
  const client = new MemoryClient();
  const clock = new FakeClock();
  const authenticate = bootstrapTokenAuthenticator({ client: () => client, clock });
  const encode = (data: Record<string, string>) =>
    Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")]));
  client.put(secrets, {
    metadata: { name: "bootstrap-token-abcdef", namespace: "kube-system" },
    type: "bootstrap.kubernetes.io/token",
    data: encode({
      "token-id": "abcdef",
      "token-secret": "0123456789abcdef",
      expiration: new Date(clock.now() + 60_000).toISOString(),
      "usage-bootstrap-authentication": "true",
      "auth-extra-groups": "system:bootstrappers:k3s:default-node-token",
    }),
  });
  const withToken = (token: string) => authenticate({ headers: { authorization: `Bearer ${token}` } });
  assert.deepEqual(await withToken("abcdef.0123456789abcdef"), {
    name: "system:bootstrap:abcdef",
    groups: ["system:bootstrappers", "system:bootstrappers:k3s:default-node-token"],
  });
  await assert.rejects(withToken("abcdef.0123456789abcdeX".toLowerCase()), refused);
  await assert.rejects(withToken("ffffff.0123456789abcdef"), refused);
  assert.equal(await withToken("something else"), undefined);
  await clock.advance(61_000);
  await assert.rejects(withToken("abcdef.0123456789abcdef"), refused);
});

test("the first authenticator that knows the credentials decides; nobody is 401 unless anonymous is allowed", async () => {
  const no = async () => {
    throw Object.assign(
      new (await import("../../../../src/machinery/status.ts")).StatusError(401, "Unauthorized", "no"),
    );
  };
  const yes = async () => ({ name: "jane", groups: ["a"] });
  const unknown = async () => undefined;
  const request = { headers: {} };
  assert.deepEqual(await unionAuthenticator([no, unknown, yes])(request), {
    name: "jane",
    groups: ["a", "system:authenticated"],
  });
  await assert.rejects(unionAuthenticator([unknown])(request), refused);
  await assert.rejects(unionAuthenticator([no], { anonymous: true })(request), refused);
  assert.equal((await unionAuthenticator([unknown], { anonymous: true })(request)).name, "system:anonymous");
});

test("acting as another needs the verb impersonate for each part", async () => {
  const user = { name: "jane", groups: ["system:authenticated"] };
  const asked: string[] = [];
  const authorize = async (a: {
    group: string;
    resource: string;
    subresource?: string;
    namespace?: string;
    name?: string;
  }) => {
    asked.push([a.group, a.resource, a.subresource ?? "", a.namespace ?? "", a.name].join("/"));
    return { allowed: a.name !== "forbidden", reason: "" };
  };
  assert.equal(await impersonate(user, {}, authorize), user);
  const headers = { "impersonate-user": "bob", "impersonate-group": "g1, g2", "impersonate-extra-scopes": "s" };
  assert.deepEqual(await impersonate(user, headers, authorize), {
    name: "bob",
    groups: ["g1", "g2", "system:authenticated"],
    extra: { scopes: ["s"] },
  });
  assert.deepEqual(asked, [
    "/users///bob",
    "/groups///g1",
    "/groups///g2",
    "authentication.k8s.io/userextras/scopes//s",
  ]);
  assert.deepEqual(await impersonate(user, { "impersonate-user": "system:serviceaccount:a:robot" }, authorize), {
    name: "system:serviceaccount:a:robot",
    groups: ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"],
  });
  await assert.rejects(
    impersonate(user, { "impersonate-user": "forbidden" }, authorize),
    /users "forbidden" is forbidden: User "jane" cannot impersonate resource "users" in API group "" at the cluster scope/,
  );
  await assert.rejects(impersonate(user, { "impersonate-group": "g" }, authorize), /without impersonating a user/);
});
