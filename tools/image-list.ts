/** The images that are built here, and what each is made from. */
import { version } from "../src/machinery/version.ts";
import { baseImage } from "./base-image.ts";
import type { Image } from "./build-image.ts";
import type { Platform } from "./platforms.ts";

/** The tag of this version, as K3s' images have it: "+" is not allowed in one. */
export const versionTag = version.replace("+", "-");
export const pauseNames = ["k3ts/pause:3.6", "rancher/mirrored-pause:3.6"];

/** The images of one platform, from the programs of a node to the finished ones. */
export interface PlatformImages {
  platform: Platform;
  /** The programs of a node, and those of a server. */
  runtimes: Image[];
  pause: Image;
  /** better-sqlite3's addon, where its npm package has no ready one. */
  sqliteAddon: Image;
  agent: Image;
  server: Image;
}

/**
 * The images of a platform. Where it is the engine's own they have the names that everybody uses; another's have its
 * architecture behind the tag ("k3ts/server:v1.36.4-k3ts1-arm64").
 */
export function imagesFor(platform: Platform, isOwn: boolean): PlatformImages {
  const { architecture } = platform;
  const named = (name: string, tag: string) => (isOwn ? `${name}:${tag}` : `${name}:${tag}-${architecture}`);
  const released = (name: string) => (isOwn ? ["latest", versionTag] : [versionTag]).map((tag) => named(name, tag));
  const tools = { DEBIAN_ARCHITECTURE: platform.debian, GNU_TRIPLET: platform.gnu };

  const runtime: Image = {
    names: [named("k3ts/runtime", "latest")],
    platform,
    dockerfile: "images/runtime/Dockerfile",
    context: "images/runtime",
    target: "runtime",
    inputs: ["images/runtime"],
    basedOn: [baseImage],
    arguments: tools,
  };
  const serverRuntime: Image = {
    ...runtime,
    names: [named("k3ts/server-runtime", "latest")],
    target: "server-runtime",
  };
  const node = (role: "agent" | "server", from: Image, inputs: string[]): Image => ({
    names: released(`k3ts/${role}`),
    platform,
    dockerfile: `Dockerfile.${role}`,
    context: ".",
    inputs: [`Dockerfile.${role}`, "dist/k3ts", `dist/images/${architecture}`, "images/warm-cache.sh", ...inputs],
    basedOn: from.names,
    arguments: { VERSION: version, RUNTIME: from.names[0]! },
  });
  return {
    platform,
    runtimes: [runtime, serverRuntime],
    pause: {
      names: pauseNames.map((name) => (isOwn ? name : `${name}-${architecture}`)),
      platform,
      dockerfile: "images/pause/Dockerfile",
      context: "images/pause",
      inputs: ["images/pause"],
      basedOn: [baseImage],
      arguments: { GNU_TRIPLET: platform.gnu },
    },
    sqliteAddon: {
      names: [named("k3ts/sqlite-addon", "latest")],
      platform,
      dockerfile: "images/sqlite-addon/Dockerfile",
      context: "node_modules/better-sqlite3",
      inputs: ["images/sqlite-addon", "node_modules/better-sqlite3/deps", "node_modules/better-sqlite3/src"],
      basedOn: [baseImage],
      arguments: { GNU_TRIPLET: platform.gnu },
    },
    agent: node("agent", runtime, []),
    server: node("server", serverRuntime, [`dist/native/${architecture}`]),
  };
}

/** In front of a cluster's servers; it runs where the orchestrator's engine does. */
export const loadBalancer: Image = {
  names: ["k3ts/loadbalancer", `k3ts/loadbalancer:${versionTag}`],
  dockerfile: "images/loadbalancer/Dockerfile",
  context: "images/loadbalancer",
  inputs: ["images/loadbalancer"],
  basedOn: [baseImage],
};
const testWeb: Image = {
  // With a tag of its own: Kubernetes pulls what has none ("latest") even where it is present.
  names: ["k3ts/test-web:1.0", "k3ts/test-web"],
  dockerfile: "images/test-web/Dockerfile",
  context: "images/test-web",
  inputs: ["images/test-web"],
  basedOn: [baseImage],
};
const testEntry: Image = {
  names: ["k3ts/test-entry:1.0"],
  dockerfile: "images/test-entry/Dockerfile",
  context: "images/test-entry",
  inputs: ["images/test-entry"],
  basedOn: ["k3ts/test-web:1.0"],
};
/** What only tests use, in the order in which they build on each other. */
export const testImages: readonly Image[] = [testWeb, testEntry];
export const testDatabases: readonly Image[] = ["etcd", "postgres", "mariadb"].map((target) => ({
  names: [`k3ts/test-${target}:1.0`],
  dockerfile: "images/test-databases/Dockerfile",
  context: "images/test-databases",
  target,
  inputs: ["images/test-databases"],
  basedOn: [baseImage],
}));
