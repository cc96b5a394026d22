import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianMirror } from "./engine-packages.ts";
import { run, tryRun } from "./run.ts";

export const baseImage = "debian:forky-slim";
const suite = "forky";

/**
 * Makes sure that the engine has `debian:forky-slim`: as it is, pulled, or, where no registry can be reached and this is
 * root on Debian or Ubuntu, made by debootstrap from the archive that apt uses. Throws an error that names the remedy.
 */
export async function ensureBaseImage({ say }: { say(line: string): void }): Promise<void> {
  if ((await tryRun("docker", ["image", "inspect", baseImage])).code === 0) return;
  say(`Pulling ${baseImage}.`);
  const pull = await tryRun("docker", ["pull", "-q", baseImage]);
  if (pull.code === 0) return;
  const why = pull.stderr.trim().split("\n").at(-1);
  if (process.getuid?.() !== 0 || (await tryRun("sh", ["-c", "command -v dpkg apt-get"])).code !== 0) {
    throw new Error(`Make "${baseImage}" pullable, or load it with "docker load": ${why}`);
  }
  say(`No registry answers; making ${baseImage} by debootstrap (about a minute).`);
  await bootstrap();
}

/** Unpacks debootstrap beside the system, without installing it, and imports what it makes. */
async function bootstrap(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "k3ts-base-"));
  try {
    await run("apt-get", ["update", "-q"]);
    // apt fetches as its own user, which may not write here; a warning about that is all it costs.
    await run("apt-get", ["download", "-q", "debootstrap"], { cwd: scratch });
    await run("sh", ["-c", "dpkg -x debootstrap_*.deb tool"], { cwd: scratch });
    const tool = join(scratch, "tool/usr");
    const root = join(scratch, "root");
    const site = await debianMirror();
    const script = join(tool, "share/debootstrap/scripts/sid");
    await run(
      join(tool, "sbin/debootstrap"),
      ["--variant=minbase", "--include=ca-certificates", suite, root, site, script],
      { env: { DEBOOTSTRAP_DIR: join(tool, "share/debootstrap") } },
    );
    // As the real slim image: without what only people read. Packages unpacked later leave it out, too.
    await run("sh", ["-ec", slimming], { cwd: root });
    await run("sh", ["-ec", `tar -C root -c . | docker import -c 'CMD ["bash"]' - ${baseImage}`], { cwd: scratch });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const slimming = `
rm -rf usr/share/doc/* usr/share/man/* usr/share/info/* usr/share/locale/* var/cache/apt/* var/lib/apt/lists/* var/log/*.log
printf '%s\\n' 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' 'path-exclude=/usr/share/info/*' \\
  'path-exclude=/usr/share/locale/*' > etc/dpkg/dpkg.cfg.d/slim
printf 'Acquire::Check-Valid-Until "false";\\nAcquire::Languages "none";\\n' > etc/apt/apt.conf.d/slim
printf '#!/bin/sh\\nexit 101\\n' > usr/sbin/policy-rc.d
chmod +x usr/sbin/policy-rc.d
`;

if (import.meta.main) await ensureBaseImage({ say: (line) => console.log(line) });
