/** The tests of kubectl.test.ts with kubectl 1.32: three releases older than the API, as many machines still have it. */
import { useTools } from "../support/kubectl.ts";

useTools("1.32");
await import("./kubectl.test.ts");
