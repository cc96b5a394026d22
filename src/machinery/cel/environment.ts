/** Kubernetes' environment for expressions: which libraries there are. Source: apiserver's cel/environment/base.go. */
import { Functions, type Library } from "./functions.ts";
import { authorization } from "./library/authorization.ts";
import { formatLibrary } from "./library/formats.ts";
import { jsonPatch } from "./library/json-patch.ts";
import { listExtension } from "./library/list-extension.ts";
import { lists, sets } from "./library/lists.ts";
import { networks } from "./library/networks.ts";
import { numbers } from "./library/numbers.ts";
import { optionals } from "./library/optionals.ts";
import { quantities } from "./library/quantities.ts";
import { searches } from "./library/searches.ts";
import { semver } from "./library/semver.ts";
import { standard } from "./library/standard.ts";
import { strings } from "./library/strings.ts";
import { times } from "./library/times.ts";
import { urls } from "./library/urls.ts";

const libraries: readonly Library[] = [
  standard,
  numbers,
  times,
  optionals,
  strings,
  lists,
  sets,
  listExtension,
  searches,
  urls,
  quantities,
  networks,
  formatLibrary,
  semver,
  authorization,
];

/** All that expressions of v1.36 may call. */
export const kubernetesFunctions = new Functions(...libraries);
/** The same for mutations. */
export const mutationFunctions = new Functions(...libraries, jsonPatch);
