import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, tryRun } from "./run.ts";

export interface InstallOptions {
  say(line: string): void;
  /** ID and VERSION_CODENAME of /etc/os-release. */
  release: { id: string; codename: string };
  parts: readonly ("engine" | "buildx" | "compose")[];
}

/** Debian's releases whose own engine is too old for us, and that can run the next release's packages. */
const borrowsFrom: Record<string, string> = { bookworm: "trixie" };

const packageNames = {
  debian: { engine: "docker.io", buildx: "docker-buildx", compose: "docker-compose" },
  ubuntu: { engine: "docker.io", buildx: "docker-buildx", compose: "docker-compose-v2" },
};

/**
 * Installs the engine, or the named plugins of its client, from the distribution's packages. apt's configuration stays
 * as it was: what is needed beyond it lives in a directory that is gone afterwards. Needs root.
 */
export async function installEngine({ say, release, parts }: InstallOptions): Promise<void> {
  const names = packageNames[release.id === "ubuntu" ? "ubuntu" : "debian"];
  const packages = parts.map((part) => names[part]);
  const lender = borrowsFrom[release.codename];
  const scratch = mkdtempSync(join(tmpdir(), "k3ts-apt-"));
  try {
    const options = lender ? await borrowingOptions(scratch, release.codename, lender) : [];
    if (lender) {
      // The lender's runc needs a newer libc than this release has; this release's own is new enough.
      if (parts.includes("engine")) packages.push(`runc/${release.codename}`);
      say(`Installing ${packages.join(", ")} from Debian ${lender}: ${release.codename}'s engine is too old.`);
    } else {
      say(`Installing ${packages.join(", ")}.`);
    }
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    await run("apt-get", [...options, "update", "-q"], { env });
    if (parts.includes("engine") && (await needsClient(options))) packages.push("docker-cli");
    await run("apt-get", [...options, "install", "-q", "-y", "--no-install-recommends", ...packages], { env });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Newer releases have the client in a package apart; one that is already there, of whatever origin, is kept. */
async function needsClient(options: string[]): Promise<boolean> {
  if ((await tryRun("docker", ["--version"])).code === 0) return false;
  return (await tryRun("apt-cache", [...options, "show", "docker-cli"])).code === 0;
}

/** apt options for lists, sources and preferences of our own, with this release and its lender. */
async function borrowingOptions(scratch: string, codename: string, lender: string): Promise<string[]> {
  const site = await debianMirror();
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const signed = existsSync(keyring) ? `[signed-by=${keyring}] ` : "";
  const sources = join(scratch, "sources.list");
  const preferences = join(scratch, "preferences");
  for (const name of ["sources.d", "preferences.d", "lists/partial"])
    mkdirSync(join(scratch, name), { recursive: true });
  writeFileSync(sources, [codename, lender].map((suite) => `deb ${signed}${site} ${suite} main\n`).join(""));
  writeFileSync(preferences, `Package: *\nPin: release n=${lender}\nPin-Priority: 100\n\n`);
  for (const name of ["docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd"]) {
    writeFileSync(preferences, `Package: ${name}\nPin: release n=${lender}\nPin-Priority: 990\n\n`, { flag: "a" });
  }
  const settings = {
    "Dir::Etc::SourceList": sources,
    "Dir::Etc::SourceParts": join(scratch, "sources.d"),
    "Dir::Etc::Preferences": preferences,
    "Dir::Etc::PreferencesParts": join(scratch, "preferences.d"),
    "Dir::State::Lists": join(scratch, "lists"),
    // apt remembers what the lists said; next time the machine's own lists must be read again.
    "Dir::Cache::pkgcache": "",
    "Dir::Cache::srcpkgcache": "",
  };
  return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
}

/** The address of the Debian archive that this machine's apt uses. Throws when its configuration names none. */
export async function debianMirror(): Promise<string> {
  const targets = await run("apt-get", ["indextargets", "--format", "$(SITE) $(CREATED_BY) $(SUITE)"]);
  const sites = targets
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([site, by]) => by === "Packages" && !/-security|-debug/.test(site ?? ""))
    .map(([site]) => site ?? "");
  const site = sites[0];
  if (!site) throw new Error("Name a Debian archive in /etc/apt/sources.list.d: apt's configuration has none.");
  return site;
}
