/**
 * Runs one of our tools on a clone where nothing is installed yet, under any Node from 18 on: installs the npm packages
 * that package-lock.json names, then runs the tool with the Node that they bring.
 *
 *     node tools/bootstrap.mjs tools/up.ts --some-option
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [tool, ...args] = process.argv.slice(2);
if (!tool) {
  console.error("Name the tool to run: node tools/bootstrap.mjs tools/up.ts");
  process.exit(64);
}

/** Runs a program with our streams; gives back its exit code. */
function run(program, programArgs, env = process.env) {
  return new Promise((resolve) => {
    const child = spawn(program, programArgs, {
      stdio: "inherit",
      cwd: root,
      env,
      shell: process.platform === "win32",
    });
    // Ctrl-C reaches the child by itself; it decides how to end.
    process.on("SIGINT", () => {});
    process.on("SIGTERM", () => child.kill("SIGTERM"));
    child.on("error", (error) => {
      console.error(`${program}: ${error.message}`);
      resolve(127);
    });
    child.on("exit", (code) => resolve(code ?? 128));
  });
}

/** Whether node_modules holds what package-lock.json says: npm writes its own list last. */
function installed() {
  const list = join(root, "node_modules/.package-lock.json");
  const stamp = join(root, "node_modules/.k3ts-lock");
  const lock = readFileSync(join(root, "package-lock.json"), "utf8");
  if (!existsSync(list)) return { done: false, stamp, lock };
  if (existsSync(stamp)) return { done: readFileSync(stamp, "utf8") === lock, stamp, lock };
  // Installed by hand: good enough when it happened after the lock was written.
  return { done: statSync(list).mtimeMs >= statSync(join(root, "package-lock.json")).mtimeMs, stamp, lock };
}

/**
 * Waits until no other of our tools installs here, and takes its place: `npm ci` empties node_modules first, which two at
 * once would do to each other. The lock of a process that is gone counts for nothing.
 */
async function takeTurn() {
  const file = join(root, ".cache/install.pid");
  mkdirSync(dirname(file), { recursive: true });
  for (;;) {
    try {
      writeFileSync(file, String(process.pid), { flag: "wx" });
      return () => rmSync(file, { force: true });
    } catch {
      if (!isAlive(Number(readFileSync(file, "utf8")))) rmSync(file, { force: true });
      else await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

if (!installed().done) {
  const leave = await takeTurn();
  process.on("exit", leave);
  const { done, stamp, lock } = installed();
  if (!done) {
    console.log("Installing npm packages: npm ci");
    const code = await run("npm", ["ci", "--no-fund", "--no-audit"]);
    if (code !== 0) process.exit(code);
    writeFileSync(stamp, lock);
  }
  leave();
}
const bin = join(root, "node_modules/.bin");
const node = join(bin, process.platform === "win32" ? "node.cmd" : "node");
const path = `${bin}${process.platform === "win32" ? ";" : ":"}${process.env.PATH}`;
process.exit(await run(node, [tool, ...args], { ...process.env, PATH: path }));
