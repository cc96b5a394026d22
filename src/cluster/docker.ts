import type Docker from "dockerode";

/** The engine could not be reached, or is not there. */
export class EngineError extends Error {}

/**
 * Connects to the Docker Engine that DOCKER_HOST names, or the local one.
 * @throws EngineError with what to do, when none answers
 */
export async function connectDocker(): Promise<Docker> {
  const { default: Engine } = await import("dockerode");
  const docker = new Engine();
  try {
    await docker.ping();
  } catch (error) {
    const where = process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock";
    throw new EngineError(
      `no Docker Engine answers at ${where} (${(error as Error).message}); start it, or set DOCKER_HOST to where one is`,
    );
  }
  return docker;
}

/** The address under which ports published by the engine are reached from here. */
export function publishedHost(environment: NodeJS.ProcessEnv): string {
  const host = environment["DOCKER_HOST"];
  return host && /^(tcp|https?|ssh):/.test(host) ? new URL(host.replace(/^tcp:/, "http:")).hostname : "127.0.0.1";
}
