import { existsSync, readFileSync } from "node:fs";

/**
 * The address of the engine's host as other containers reach it, from where they use ports that this container publishes:
 * the gateway of the default route. Outside a container there is none: the gateway is somebody else then.
 */
export function containerHost(): string | undefined {
  if (!["/.dockerenv", "/run/.containerenv"].some((mark) => existsSync(mark))) return undefined;
  return defaultGateway(readFileSync("/proc/net/route", "utf8"));
}

/** The gateway of the default route in the text of /proc/net/route, where addresses stand as little-endian numbers. */
export function defaultGateway(routes: string): string | undefined {
  for (const line of routes.split("\n").slice(1)) {
    const [, destination, gateway = "", , , , , mask] = line.split(/\s+/);
    if (destination !== "00000000" || mask !== "00000000" || /^0+$/.test(gateway)) continue;
    return [...Buffer.from(gateway, "hex")].reverse().join(".");
  }
  return undefined;
}
