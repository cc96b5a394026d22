import assert from "node:assert/strict";
import { test } from "node:test";
import { imagesFor } from "../../../tools/image-list.ts";
import { parsePlatforms, platforms } from "../../../tools/platforms.ts";

const [amd64, arm64, armv7] = platforms;

test("a list of platforms gives each once, in its order", () => {
  assert.deepEqual(parsePlatforms("linux/arm/v7, linux/amd64,linux/arm/v7"), [armv7, amd64]);
});

test("an unknown platform is named, with those that there are", () => {
  assert.throws(() => parsePlatforms("linux/amd64,linux/riscv64"), {
    message: 'Unknown platform "linux/riscv64"; there are linux/amd64, linux/arm64, linux/arm/v7.',
  });
  assert.throws(() => parsePlatforms(""), /Unknown platform ""/);
});

test("the engine's own images have the names that everybody uses, another platform's have its architecture behind the tag", () => {
  assert.match(imagesFor(amd64!, true).server.names.join(), /^k3ts\/server:latest,k3ts\/server:v[\d.]+-k3ts\d+$/);
  const foreign = imagesFor(arm64!, false);
  assert.match(foreign.server.names.join(), /^k3ts\/server:v[\d.]+-k3ts\d+-arm64$/);
  const all = [...foreign.runtimes, foreign.pause, foreign.sqliteAddon, foreign.agent, foreign.server];
  for (const name of all.flatMap(({ names }) => names)) assert.match(name, /:.*-arm64$/);
});

test("the node images of a platform build on that platform's programs", () => {
  const { runtimes, server, agent } = imagesFor(armv7!, false);
  assert.equal(agent.arguments?.["RUNTIME"], runtimes[0]!.names[0]);
  assert.equal(server.arguments?.["RUNTIME"], runtimes[1]!.names[0]);
  assert.ok(server.inputs.includes("dist/native/arm"));
});
