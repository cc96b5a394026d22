import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect as connectTcp } from "node:net";
import { test } from "node:test";
import { connect } from "node:tls";
import type { NodeCertificates } from "../../../src/agent/bootstrap/node-certificates.ts";
import type { Kubelet } from "../../../src/agent/kubelet/kubelet.ts";
import { listenKubelet } from "../../../src/agent/kubelet-listener.ts";
import { ioClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { ensureCertificates } from "../../../src/server/certificates.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

test("an upgrade without a certificate is refused, and one that is then reset ends nothing", async (t) => {
  const pair = await ensureCertificates(
    temporaryDirectory(t),
    [{ file: "ca", commonName: "ca" }],
    [{ file: "serving", ca: "ca", commonName: "n", names: ["127.0.0.1"], usages: ["serverAuth"] }],
    { clock: ioClock },
  );
  const kubelet = {
    handle: () => assert.fail("a stranger was let in"),
    upgrade: () => assert.fail("a stranger was let in"),
  } as unknown as Kubelet;
  const certificates = { serving: pair("serving"), clientCa: pair("ca").certificate } as NodeCertificates;
  const server = await listenKubelet(kubelet, certificates, silentLogger, 0);
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  for (let round = 0; round < 2; round++) {
    const broken = new Promise((resolve) => {
      server.once("secureConnection", (socket) => socket.once("close", resolve));
    });
    const socket = connectTcp({ host: "127.0.0.1", port });
    const client = connect({ socket, host: "127.0.0.1", ca: pair("ca").certificate });
    client.on("error", () => {});
    client.write("GET /exec/default/p/main HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    const [answer] = (await once(client, "data")) as [Buffer];
    socket.resetAndDestroy();
    assert.match(answer.toString(), /^HTTP\/1\.1 401 Unauthorized\r\n/);
    await broken;
  }
});
