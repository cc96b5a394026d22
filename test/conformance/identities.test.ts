/** Service accounts, reviews and certificate requests, as their conformance tests ask. */
import assert from "node:assert/strict";
import { type CertificateSigningRequest, certificateSigningRequests } from "../../src/api/generated/certificates-v1.ts";
import { configMaps, serviceAccounts } from "../../src/api/generated/core-v1.ts";
import { certificateRequest } from "../support/certificate-request.ts";
import { isDiscovered, isLater } from "./api-operations.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { isGone, soon, watchUntil } from "./waiting.ts";

const accounts = "[sig-auth] ServiceAccounts should";

conformance(
  `${accounts} run through the lifecycle of a ServiceAccount [Conformance]`,
  async (_, { client, namespace }) => {
    const scope = { namespace };
    const labels = { mark: namespace };
    const { metadata } = await client.list(serviceAccounts, scope);
    const options = { namespace, labelSelector: `mark=${namespace}`, resourceVersion: metadata.resourceVersion! };
    const made = await client.create(serviceAccounts, { metadata: { name: "a", namespace, labels } }, scope);
    await watchUntil(client, serviceAccounts, options, ({ type }) => type === "ADDED");
    const body = { automountServiceAccountToken: false };
    const patched = await client.patch(serviceAccounts, "a", { type: "strategic", body }, scope);
    assert.ok(isLater(patched, made));
    const { items } = await client.list(serviceAccounts, { labelSelector: `mark=${namespace}` });
    assert.deepEqual(
      items.map((account) => [account.metadata.name, account.automountServiceAccountToken]),
      [["a", false]],
    );
    await client.deleteCollection(serviceAccounts, { namespace, labelSelector: `mark=${namespace}` });
    await watchUntil(client, serviceAccounts, options, ({ type }) => type === "DELETED");
  },
);

conformance(`${accounts} update a ServiceAccount [Conformance]`, async (_, { client, namespace }) => {
  const scope = { namespace };
  await client.create(
    serviceAccounts,
    { metadata: { name: "a", namespace }, automountServiceAccountToken: false },
    scope,
  );
  const updated = await soon(async () => {
    const present = await client.get(serviceAccounts, "a", scope);
    return client.update(serviceAccounts, { ...present, automountServiceAccountToken: true }, scope);
  });
  assert.equal(updated.automountServiceAccountToken, true);
});

conformance(
  `${accounts} guarantee kube-root-ca.crt exist in any namespace [Conformance]`,
  async (_, { client, namespace, server }) => {
    const scope = { namespace };
    const name = "kube-root-ca.crt";
    const first = await soon(() => client.get(configMaps, name, scope));
    assert.equal(first.data?.["ca.crt"], server.credentials.ca);
    await client.delete(configMaps, name, scope);
    await soon(async () =>
      assert.notEqual((await client.get(configMaps, name, scope)).metadata.uid, first.metadata.uid),
    );
    await client.patch(configMaps, name, { type: "merge", body: { data: { "ca.crt": "" } } }, scope);
    await soon(async () => assert.deepEqual((await client.get(configMaps, name, scope)).data, first.data));
  },
);

conformance(
  `${accounts} create a serviceAccountToken and ensure a successful TokenReview [Conformance]`,
  async (_, { client, namespace, read }) => {
    await client.create(serviceAccounts, { metadata: { name: "a", namespace } }, { namespace });
    const request = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
    const { status } = await client.createSubresource<{ status: { token: string } }>(
      serviceAccounts,
      "a",
      "token",
      request,
      { namespace },
    );
    assert.ok(status.token);
    const review = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token: status.token } };
    const reviewed = await read<{ status: { authenticated?: boolean; error?: string; user?: { username: string } } }>(
      "/apis/authentication.k8s.io/v1/tokenreviews",
      { method: "POST", body: review },
    );
    assert.deepEqual([reviewed.status.authenticated, reviewed.status.error ?? ""], [true, ""]);
    assert.equal(reviewed.status.user?.username, `system:serviceaccount:${namespace}:a`);
  },
);

conformance(
  "[sig-auth] SubjectReview should support SubjectReview API operations [Conformance]",
  async (_, { client, namespace, read, send }) => {
    const { metadata } = await client.create(serviceAccounts, { metadata: { name: "a", namespace } }, { namespace });
    const user = `system:serviceaccount:${namespace}:a`;
    const groups = ["system:authenticated", "system:serviceaccounts", `system:serviceaccounts:${namespace}`];
    const resourceAttributes = { verb: "list", resource: "configmaps", namespace, version: "v1" };
    const spec = { resourceAttributes, user, groups, uid: metadata.uid };
    const isAllowed = async (kind: string, path: string): Promise<boolean> => {
      const body = {
        apiVersion: "authorization.k8s.io/v1",
        kind,
        metadata: kind.startsWith("Local") ? { namespace } : {},
        spec,
      };
      return (await read<{ status: { allowed: boolean } }>(path, { method: "POST", body })).status.allowed;
    };
    const root = "/apis/authorization.k8s.io/v1";
    const agree = async (expected: boolean) => {
      const headers = {
        "impersonate-user": user,
        "impersonate-uid": metadata.uid ?? "",
        "impersonate-group": groups[1]!,
      };
      const { code } = await send(`/api/v1/namespaces/${namespace}/configmaps`, { headers });
      assert.equal(code, expected ? 200 : 403);
      assert.equal(await isAllowed("SubjectAccessReview", `${root}/subjectaccessreviews`), expected);
      assert.equal(
        await isAllowed("LocalSubjectAccessReview", `${root}/namespaces/${namespace}/localsubjectaccessreviews`),
        expected,
      );
    };
    await agree(false);
    const binding = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: "view" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
      subjects: [{ kind: "ServiceAccount", name: "a", namespace }],
    };
    await read(`/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/rolebindings`, {
      method: "POST",
      body: binding,
    });
    await soon(() => agree(true));
  },
);

conformance(
  "[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API operations [Conformance]",
  async (_, cluster: Cluster) => {
    const { client, namespace, server } = cluster;
    const type = certificateSigningRequests;
    await isDiscovered(cluster, type, "approval", "status");
    const request = await certificateRequest();
    const labels = { mark: namespace };
    const spec: CertificateSigningRequest["spec"] = {
      request,
      // A signer that nothing here signs for.
      signerName: `example.com/${namespace}`,
      expirationSeconds: 3600,
      usages: ["digital signature", "key encipherment", "server auth"],
    };
    const make = () => client.create(type, { metadata: { generateName: `${namespace}-`, labels }, spec });
    const made = await make();
    const name = made.metadata.name ?? "";
    await make();
    await make();
    const got = await client.get(type, name);
    assert.deepEqual([got.metadata.uid, got.spec.expirationSeconds], [made.metadata.uid, 3600]);
    const labelSelector = `mark=${namespace}`;
    const listed = await client.list(type, { labelSelector });
    assert.equal(listed.items.length, 3);
    const annotate = (annotations: Record<string, string>) => ({ metadata: { annotations } });
    const patched = await client.patch(type, name, { type: "merge", body: annotate({ patched: "true" }) });
    assert.equal(patched.metadata.annotations?.["patched"], "true");
    assert.ok(isLater(patched, got));
    const annotations = { ...patched.metadata.annotations, updated: "true" };
    const updated = await client.update(type, { ...patched, metadata: { ...patched.metadata, annotations } });
    assert.equal(updated.metadata.annotations?.["updated"], "true");
    await watchUntil(client, type, { labelSelector, resourceVersion: listed.metadata.resourceVersion! }, (event) =>
      Boolean(event.type === "MODIFIED" && event.object.metadata.annotations?.["updated"]),
    );

    const approval = { subresource: "approval" };
    assert.equal((await client.get(type, name, approval)).metadata.uid, made.metadata.uid);
    const condition = (of: string) => ({ type: of, status: "True", reason: "Test", message: `set by ${of}` });
    const body = { ...annotate({ patchedapproval: "true" }), status: { conditions: [condition("ApprovalPatch")] } };
    const approved = await client.patch(type, name, { type: "merge", body }, approval);
    assert.deepEqual(
      approved.status?.conditions?.map((found) => found.type),
      ["ApprovalPatch"],
    );
    assert.equal(approved.metadata.annotations?.["patchedapproval"], "true");
    const both = [...(approved.status?.conditions ?? []), condition("Approved")];
    const final = await client.update(
      type,
      { ...approved, status: { ...approved.status, conditions: both } },
      approval,
    );
    assert.deepEqual(
      final.status?.conditions?.map((found) => found.type),
      ["ApprovalPatch", "Approved"],
    );

    const status = { subresource: "status" };
    assert.equal((await client.get(type, name, status)).metadata.uid, made.metadata.uid);
    const certificate = Buffer.from(server.credentials.ca).toString("base64");
    const signed = await client.patch(
      type,
      name,
      { type: "merge", body: { ...annotate({ patchedstatus: "true" }), status: { certificate } } },
      status,
    );
    assert.equal(signed.status?.certificate, certificate);
    assert.equal(signed.metadata.annotations?.["patchedstatus"], "true");
    const conditions = [...(signed.status?.conditions ?? []), condition("StatusUpdate")];
    const last = await client.update(type, { ...signed, status: { ...signed.status, conditions } }, status);
    assert.equal(last.status?.conditions?.at(-1)?.type, "StatusUpdate");

    await client.delete(type, name);
    await isGone(client, type, name);
    assert.equal((await client.list(type, { labelSelector })).items.length, 2);
    await client.deleteCollection(type, { labelSelector });
    await soon(async () => assert.deepEqual((await client.list(type, { labelSelector })).items, []));
  },
);
