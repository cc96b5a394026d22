import { connect } from "node:net";
import { run } from "../../tools/run.ts";
import type { TestDatabase } from "../support/database.ts";

/** How long the container's address may take to answer; where it does at all, that is a millisecond. */
const patienceMs = 2000;

/**
 * A database's endpoint at its container's own address, where this machine reaches that (Linux does, engines in a virtual
 * machine do not): a published port leads through a program of the engine's, which would be measured, too.
 */
export async function nearEndpoint(database: TestDatabase): Promise<string> {
  const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
  const [address] = (await run("docker", ["inspect", "--format", format, database.container])).trim().split(" ");
  if (!address) return database.endpoint;
  const endpoint = database.networkEndpoint.replace(database.container, address);
  const port = endpoint.split(`${address}:`)[1]!.match(/^\d+/)![0];
  return (await answers(address, Number(port))) ? endpoint : database.endpoint;
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: patienceMs });
    const end = (reached: boolean) => {
      socket.destroy();
      resolve(reached);
    };
    socket.once("connect", () => end(true));
    socket.once("timeout", () => end(false));
    socket.once("error", () => end(false));
  });
}
