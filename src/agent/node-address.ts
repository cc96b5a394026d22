import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { ConfigurationError } from "../machinery/configuration-error.ts";

/** The interface that the default route leaves through, from /proc/net/route; undefined without one. */
export function defaultInterface(): string | undefined {
  for (const line of readFileSync("/proc/net/route", "utf8").split("\n").slice(1)) {
    const [name, destination, , , , , , mask] = line.split(/\s+/);
    if (destination === "00000000" && mask === "00000000") return name;
  }
  return undefined;
}

/**
 * The IPv4 address by which other nodes reach this one.
 * @param wanted an interface by name; default: that of the default route, else the first that is not loopback
 * @throws when no such interface carries an address
 */
export function nodeAddress(wanted?: string): string {
  const interfaces = networkInterfaces();
  const first = (name: string) =>
    interfaces[name]?.find((address) => address.family === "IPv4" && !address.internal)?.address;
  if (wanted !== undefined) {
    const address = first(wanted);
    if (!address)
      throw new ConfigurationError(
        `interface "${wanted}" has no IPv4 address; name another with --flannel-iface or give --node-ip`,
      );
    return address;
  }
  const byRoute = defaultInterface();
  const candidates = byRoute ? [byRoute, ...Object.keys(interfaces)] : Object.keys(interfaces);
  // The pod network's own interfaces are there after a restart of the program.
  const address = candidates
    .filter((name) => !/^(cni|flannel|k3ts|veth)/.test(name))
    .map(first)
    .find(Boolean);
  if (!address) throw new ConfigurationError("no network interface has an IPv4 address; give one with --node-ip");
  return address;
}
