/**
 * Bundles `src/` for the images and for `npx k3ts`: `dist/k3ts/` with one entry, its workers, and chunks that a
 * subcommand loads when it needs them; `dist/native/<architecture>/` with SQLite's addon as Docker names architectures.
 *
 * `node tools/bundle.ts` runs it by hand.
 */
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const addonName = "better_sqlite3.node";

/** What starts in a thread or process of its own, by the name it has beside the main file. */
const workers: Record<string, string> = {
  "sqlite-worker": "src/store/sqlite/worker.ts",
  "signer-worker": "src/server/signer-worker.ts",
  "yaml-worker": "src/apiserver/http/yaml-worker.ts",
};

/** better-sqlite3 looks for its addon in several folders of its package; here it stands beside the chunks. */
const sqliteAddon: Plugin = {
  name: "sqlite-addon",
  setup(build) {
    build.onLoad({ filter: /better-sqlite3[/\\]lib[/\\]binding\.js$/ }, () => ({
      contents: `exports.getBinding = (given) =>
        typeof given === "object" && given !== null ? given : require(typeof given === "string" ? given : "./${addonName}");`,
    }));
    build.onResolve({ filter: /\.node$/ }, ({ path }) => ({ path, external: true }));
  },
};

/**
 * A CommonJS package that is imported when it is needed would arrive as a default export only; Node gives it its names.
 * They are looked up here and written out, so that the bundle behaves as the sources do.
 */
const lazyCommonJs: Plugin = {
  name: "lazy-commonjs",
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, async ({ path, kind, resolveDir, pluginData }) => {
      if (kind !== "dynamic-import" || isBuiltin(path) || pluginData === lazyCommonJs) return undefined;
      const found = await build.resolve(path, { kind: "require-call", resolveDir, pluginData: lazyCommonJs });
      const asImport = await build.resolve(path, { kind, resolveDir, pluginData: lazyCommonJs });
      // Where both forms are the same file, and it is no module, there is only CommonJS.
      if (asImport.path !== found.path || isModule(found.path)) return asImport;
      return { path, namespace: "lazy-commonjs", pluginData: { resolveDir } };
    });
    build.onLoad({ filter: /.*/, namespace: "lazy-commonjs" }, async ({ path, pluginData }) => {
      const names = Object.keys(await import(path)).filter(
        (name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default",
      );
      return {
        contents: `import all from ${JSON.stringify(path)};\nexport default all;\nexport const { ${names.join(", ")} } = all;`,
        resolveDir: pluginData.resolveDir,
      };
    });
  },
};

/** fastify's compilers of JSON schemas, two thirds of it: no route of ours has a schema, and it is told so. */
const lightFastify: Plugin = {
  name: "light-fastify",
  setup(build) {
    build.onLoad({ filter: /@fastify[/\\](ajv-compiler|fast-json-stringify-compiler)[/\\]\w+\.js$/ }, () => ({
      contents: `module.exports = () => { throw new Error("compilers of JSON schemas are not built in"); };`,
    }));
  },
};

/**
 * Importing `node:http` makes Node evaluate all that it exports, and three of them load undici: 30 ms and 2 MB. `require`
 * evaluates only what is used.
 */
const httpWithoutUndici: Plugin = {
  name: "http-without-undici",
  setup(build) {
    build.onResolve({ filter: /^(node:)?http$/ }, ({ kind }) =>
      kind === "require-call" ? { path: "node:http", external: true } : { path: "http", namespace: "required" },
    );
    build.onLoad({ filter: /.*/, namespace: "required" }, () => ({
      contents: `module.exports = require("node:http");`,
    }));
  },
};

/** Whether a JavaScript file is an ES module: by its ending, or by the package that it is in. */
function isModule(path: string): boolean {
  if (path.endsWith(".mjs")) return true;
  if (path.endsWith(".cjs")) return false;
  for (let directory = dirname(path); directory !== dirname(directory); directory = dirname(directory)) {
    const description = join(directory, "package.json");
    if (existsSync(description)) return JSON.parse(readFileSync(description, "utf8")).type === "module";
  }
  return false;
}

/** The Docker client's two heaviest parts, for Docker over ssh and for building images, which k3ts does not use. */
const lightDocker: Plugin = {
  name: "light-docker",
  setup(build) {
    build.onLoad({ filter: /docker-modem[/\\]lib[/\\]ssh\.js$/ }, () => ({
      contents: `module.exports = () => {
        throw new Error("Forward the engine's socket (ssh -L) and name it in DOCKER_HOST: ssh:// is not built in");
      };`,
    }));
    build.onLoad({ filter: /dockerode[/\\]lib[/\\]session\.js$/ }, () => ({
      contents: `module.exports = (docker, auth, done) => done(new Error("sessions for builds are not built in"), null, () => {});`,
    }));
  },
};

/** Builds the bundle anew. Throws when the sources do not build. */
export async function bundle(): Promise<void> {
  const output = join(root, "dist/k3ts");
  const next = `${output}.next`;
  rmSync(next, { recursive: true, force: true });
  const entryPoints = { k3ts: "src/main.ts", ...workers };
  await build({
    absWorkingDir: root,
    entryPoints,
    outdir: next,
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunk-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    minify: true,
    // An uncaught error prints its whole line.
    lineLimit: 160,
    // Names of classes are part of what is logged and compared.
    keepNames: true,
    legalComments: "none",
    plugins: [sqliteAddon, lightDocker, lightFastify, httpWithoutUndici, lazyCommonJs],
    banner: {
      js: 'import { createRequire as k3tsCreateRequire } from "node:module"; const require = k3tsCreateRequire(import.meta.url);',
    },
    logLevel: "error",
  });
  for (const file of globSync("node_modules/better-sqlite3/prebuilds/linux-*.node", { cwd: root })) {
    const architecture = /linux-(\w+)\.node$/.exec(file)?.[1] === "x64" ? "amd64" : "arm64";
    mkdirSync(join(root, "dist/native", architecture), { recursive: true });
    copyFileSync(join(root, file), join(root, "dist/native", architecture, addonName));
  }
  const own = join(root, `node_modules/better-sqlite3/prebuilds/${process.platform}-${process.arch}.node`);
  if (existsSync(own)) copyFileSync(own, join(next, addonName));
  // What does not build leaves the last bundle as it was.
  rmSync(output, { recursive: true, force: true });
  renameSync(next, output);
}

if (import.meta.main) await bundle();
