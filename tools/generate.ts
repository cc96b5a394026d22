/**
 * Makes src/api/generated/ from the installed @kubernetes/client-node (the official client: its models carry Kubernetes
 * v1.36) and our own table of facts in src/api/facts/. Does nothing when neither they nor this program changed.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { groups } from "./generate/groups.ts";
import { readModels } from "./generate/models.ts";
import { readResources } from "./generate/operations.ts";
import { renderDescriptions, renderResources, renderSchemaData } from "./generate/schemas.ts";
import { renderTypes } from "./generate/types.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const libraryDir = join(root, "node_modules/@kubernetes/client-node");
const genDir = join(libraryDir, "dist/gen");
const factsDir = join(root, "src/api/facts");
const outDir = join(root, "src/api/generated");

/** Hash of everything that the result depends on. */
function fingerprint(): string {
  const hash = createHash("sha256");
  const version = JSON.parse(readFileSync(join(libraryDir, "package.json"), "utf8")).version as string;
  hash.update(version);
  for (const dir of [join(root, "tools/generate"), factsDir]) {
    for (const file of readdirSync(dir).sort()) hash.update(file).update(readFileSync(join(dir, file)));
  }
  return hash.update(readFileSync(fileURLToPath(import.meta.url))).digest("hex");
}

function generate(): Map<string, string> {
  const files = new Map<string, string>();
  const models = readModels(genDir, factsDir);
  const resources = readResources(genDir, models);
  for (const group of groups) {
    const own = resources.filter((entry) => entry.group === group);
    files.set(`${group.file}.ts`, renderTypes(group, models, own));
  }
  files.set("schema-data.ts", renderSchemaData(factsDir, models));
  files.set("descriptions.ts", renderDescriptions(models));
  files.set("resources.ts", renderResources(resources, models));
  return files;
}

const stampFile = join(outDir, ".fingerprint");
const stamp = fingerprint();
if (!existsSync(stampFile) || readFileSync(stampFile, "utf8") !== stamp) {
  const files = generate();
  mkdirSync(outDir, { recursive: true });
  for (const file of readdirSync(outDir)) if (!files.has(file)) rmSync(join(outDir, file));
  for (const [file, text] of files) {
    const path = join(outDir, file);
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text);
  }
  writeFileSync(stampFile, stamp);
  console.log(`Generated ${files.size} files in src/api/generated`);
}
