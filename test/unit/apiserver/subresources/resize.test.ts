/** Authority: https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/ */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { ApiHarness } from "../harness.ts";

const root = "/api/v1/namespaces/default/pods";
const amounts = (cpu: string, memory = "64Mi") => ({ requests: { cpu, memory }, limits: { cpu: "1", memory: "1Gi" } });

async function start(t: TestContext, container: object = {}) {
  const api = await ApiHarness.start();
  t.after(() => api.stop());
  await api.post("/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "default" } });
  const made = await api.post(root, {
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image: "i", resources: amounts("100m"), ...container }] },
  });
  assert.equal(made.code, 201, made.text);
  const resize = (containers: object[], rest: object = {}) =>
    api.patch(`${root}/p/resize`, "strategic", { spec: { containers }, ...rest });
  return { api, resize };
}

test("a resize changes the amounts, counts as a generation, and leaves all else", async (t) => {
  const { api, resize } = await start(t);
  const { code, body } = await resize([{ name: "c", image: "other", resources: amounts("200m") }], {
    metadata: { labels: { a: "b" } },
  });
  assert.equal(code, 200);
  const [container] = body.spec.containers;
  assert.deepEqual([container.resources, container.image], [amounts("200m"), "i"]);
  assert.equal(body.metadata.generation, 2);
  assert.equal(body.metadata.labels, undefined);
  const again = await resize([{ name: "c", resources: amounts("200m") }]);
  assert.equal(again.body.metadata.generation, 2);
  assert.equal((await api.get(`${root}/p/resize`)).body.spec.containers[0].resources.requests.cpu, "200m");
});

test("what a resize may not do is refused with the reason", async (t) => {
  const { api, resize } = await start(t);
  const said = async (containers: object[]) => {
    const { code, body } = await resize(containers);
    assert.equal(code, 422);
    return body.message;
  };
  assert.match(
    await said([
      { name: "c", resources: { requests: { cpu: "1", memory: "1Gi" }, limits: { cpu: "1", memory: "1Gi" } } },
    ]),
    /spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing/,
  );
  assert.match(
    await said([{ name: "c", resources: { limits: { cpu: null } } }]),
    /spec\.containers\[0\]\.resources\.limits: Forbidden: resource limits cannot be removed/,
  );
  assert.match(
    await said([{ name: "d", image: "i" }]),
    /spec\.containers: Forbidden: containers may not be added or removed on resize/,
  );
  const { body: pod } = await api.get(`${root}/p`);
  const main = await api.put(`${root}/p`, {
    ...pod,
    spec: { ...pod.spec, containers: [{ ...pod.spec.containers[0], resources: amounts("300m") }] },
  });
  assert.equal(main.code, 422, "not through the pod itself");
});

test("a pod on a node that says nothing of resources cannot be resized", async (t) => {
  const { api, resize } = await start(t);
  const status = (resources: object | undefined) => ({
    status: {
      containerStatuses: [
        { name: "c", state: { running: {} }, ready: true, restartCount: 0, image: "i", imageID: "i", resources },
      ],
    },
  });
  await api.patch(`${root}/p/status`, "merge", status(undefined));
  const refused = await resize([{ name: "c", resources: amounts("200m") }]);
  assert.match(refused.body.message, /spec: Forbidden: Pod running on node without support for resize/);
  await api.patch(`${root}/p/status`, "merge", status({}));
  const { body } = await api.get(`${root}/p`);
  assert.deepEqual(body.status.containerStatuses[0].resources, {}, "empty is not absent");
  assert.equal((await resize([{ name: "c", resources: amounts("200m") }])).code, 200);
});
