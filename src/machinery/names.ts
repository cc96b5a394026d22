/**
 * The formats that names, keys and values of the API must have. Each check gives the messages of what is wrong (none:
 * valid), word for word those of apimachinery's util/validation, since people search for them.
 */

const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const subdomain = `${label}(\\.${label})*`;
const underscoreLabel = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const underscoreSubdomain = `${underscoreLabel}(\\.${underscoreLabel})*`;
const label1035 = "[a-z]([-a-z0-9]*[a-z0-9])?";
const wildcard = `\\*\\.${subdomain}`;
const labelKey = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const labelValueFormat = `(${labelKey})?`;
const cIdentifierFormat = "[A-Za-z_][A-Za-z0-9_]*";
const envVar = "[-._a-zA-Z][-._a-zA-Z0-9]*";
const configKey = "[-._a-zA-Z0-9]+";
const percent = "[0-9]+%";
const headerName = "[-A-Za-z0-9]+";

const whole = (pattern: string) => new RegExp(`^${pattern}$`);
const labelRegex = whole(label);
const subdomainRegex = whole(subdomain);
const underscoreSubdomainRegex = whole(underscoreSubdomain);
const label1035Regex = whole(label1035);
const wildcardRegex = whole(wildcard);
const labelKeyRegex = whole(labelKey);
const labelValueRegex = whole(labelValueFormat);
const cIdentifierRegex = whole(cIdentifierFormat);
const envVarRegex = whole(envVar);
const configKeyRegex = whole(configKey);
const percentRegex = whole(percent);
const headerNameRegex = whole(headerName);

export const labelMaxLength = 63;
export const subdomainMaxLength = 253;

/** `must be no more than 63 characters`. */
export function maxLengthMessage(length: number): string {
  return `must be no more than ${length} characters`;
}

/** The same, where Kubernetes counts bytes in so many words. */
export function maxBytesMessage(length: number): string {
  return `must be no more than ${length} bytes`;
}

/** `<what> (e.g. 'a',  or 'b', regex used for validation is '…')`. */
export function regexMessage(what: string, pattern: string, ...examples: string[]): string {
  const tail = `regex used for validation is '${pattern}')`;
  return examples.length === 0
    ? `${what} (${tail}`
    : `${what} (e.g. ${examples.map((e) => `'${e}', `).join(" or ")}${tail}`;
}

/** `must be between 1 and 65535, inclusive`. */
export function rangeMessage(low: number, high: number): string {
  return `must be between ${low} and ${high}, inclusive`;
}

/** Lengths count bytes, as Go's do. */
const bytes = (value: string) => Buffer.byteLength(value);

/** A label of a DNS name (RFC 1123): "my-name". */
export function dns1123Label(value: string): string[] {
  const messages = bytes(value) > labelMaxLength ? [maxLengthMessage(labelMaxLength)] : [];
  if (labelRegex.test(value)) return messages;
  if (subdomainRegex.test(value)) return [...messages, "must not contain dots"];
  const what =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
  return [...messages, regexMessage(what, label, "my-name", "123-abc")];
}

/** A DNS name (RFC 1123): "example.com". */
export function dns1123Subdomain(value: string): string[] {
  const messages = bytes(value) > subdomainMaxLength ? [maxLengthMessage(subdomainMaxLength)] : [];
  if (subdomainRegex.test(value)) return messages;
  const what =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
  return [...messages, regexMessage(what, subdomain, "example.com")];
}

/** The same with underscores. */
export function dns1123SubdomainWithUnderscore(value: string): string[] {
  const messages = bytes(value) > subdomainMaxLength ? [maxLengthMessage(subdomainMaxLength)] : [];
  if (underscoreSubdomainRegex.test(value)) return messages;
  const what =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
  return [...messages, regexMessage(what, underscoreSubdomain, "example.com")];
}

/** A label that starts with a letter (RFC 1035): names of Services. */
export function dns1035Label(value: string): string[] {
  const messages = bytes(value) > labelMaxLength ? [maxLengthMessage(labelMaxLength)] : [];
  if (label1035Regex.test(value)) return messages;
  const what =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
  return [...messages, regexMessage(what, label1035, "my-name", "abc-123")];
}

/** "*.example.com". */
export function wildcardDns1123Subdomain(value: string): string[] {
  const messages = bytes(value) > subdomainMaxLength ? [maxLengthMessage(subdomainMaxLength)] : [];
  if (wildcardRegex.test(value)) return messages;
  const what =
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
  return [...messages, regexMessage(what, wildcard, "*.example.com")];
}

const qualifiedWhat =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/** A label key or other qualified name: "app", "example.com/app". */
export function qualifiedName(value: string): string[] {
  const messages: string[] = [];
  const parts = value.split("/");
  const regex = regexMessage(qualifiedWhat, labelKey, "MyName", "my.name", "123-abc");
  if (parts.length > 2) {
    return [`a valid label key ${regex} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`];
  }
  const name = parts.at(-1)!;
  if (parts.length === 2) {
    if (parts[0] === "") messages.push("prefix part must be non-empty");
    else messages.push(...dns1123Subdomain(parts[0]!).map((message) => `prefix part ${message}`));
  }
  if (name === "") messages.push("name part must be non-empty");
  else if (bytes(name) > labelMaxLength) messages.push(`name part ${maxBytesMessage(labelMaxLength)}`);
  if (!labelKeyRegex.test(name)) messages.push(`name part ${regex}`);
  return messages;
}

/** The value of a label. */
export function labelValue(value: string): string[] {
  const messages = bytes(value) > labelMaxLength ? [maxBytesMessage(labelMaxLength)] : [];
  if (labelValueRegex.test(value)) return messages;
  const what =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
  return [...messages, regexMessage(what, labelValueFormat, "MyValue", "my_value", "12345")];
}

export function cIdentifier(value: string): string[] {
  if (cIdentifierRegex.test(value)) return [];
  const what =
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
  return [regexMessage(what, cIdentifierFormat, "my_name", "MY_NAME", "MyName")];
}

/** A port number, 1 to 65535. */
export function portNumber(port: number): string[] {
  return inRange(port, 1, 65535);
}

export function inRange(value: number, low: number, high: number): string[] {
  return value >= low && value <= high ? [] : [rangeMessage(low, high)];
}

/** User and group ids: what a signed 32-bit number can hold. */
export function userId(id: number): string[] {
  return inRange(id, 0, 0x7fffffff);
}

/** The name of a port (an IANA service name in lower case). */
export function portName(port: string): string[] {
  const messages: string[] = [];
  if (bytes(port) > 15) messages.push(maxLengthMessage(15));
  if (!/^[-a-z0-9]+$/.test(port)) {
    messages.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  }
  if (!/[a-z]/.test(port)) messages.push("must contain at least one letter (a-z)");
  if (port.includes("--")) messages.push("must not contain consecutive hyphens");
  if (port.startsWith("-") || port.endsWith("-")) messages.push("must not begin or end with a hyphen");
  return messages;
}

/** "93%". */
export function percentage(value: string): string[] {
  if (percentRegex.test(value)) return [];
  const what = "a valid percent string must be a numeric string followed by an ending '%'";
  return [regexMessage(what, percent, "1%", "93%")];
}

export function httpHeaderName(value: string): string[] {
  if (headerNameRegex.test(value)) return [];
  const what = "a valid HTTP header must consist of alphanumeric characters or '-'";
  return [regexMessage(what, headerName, "X-Header-Name")];
}

function noParentPath(value: string): string[] {
  if (value === "." || value === "..") return [`must not be '${value}'`];
  return value.startsWith("..") ? ["must not start with '..'"] : [];
}

/** The classic, strict form of environment variable names. */
export function envVarName(value: string): string[] {
  const messages = noParentPath(value);
  if (envVarRegex.test(value)) return messages;
  const what =
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit";
  return [regexMessage(what, envVar, "my.env-name", "MY_ENV.NAME", "MyEnvName1"), ...messages];
}

/** What pods accept by now: printable ASCII without "=". */
export function relaxedEnvVarName(value: string): string[] {
  if (value === "") return ["environment variable name must be non-empty"];
  return /^[\x20-\x3c\x3e-\x7e]*$/.test(value)
    ? []
    : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

/** A key of a ConfigMap or Secret. */
export function configMapKey(value: string): string[] {
  const messages = bytes(value) > subdomainMaxLength ? [maxLengthMessage(subdomainMaxLength)] : [];
  if (!configKeyRegex.test(value)) {
    const what = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
    messages.push(regexMessage(what, configKey, "key.name", "KEY_NAME", "key-name"));
  }
  return [...messages, ...noParentPath(value)];
}

/** A name that stands in a URL path, with no other rule (RBAC objects). */
export function pathSegmentName(name: string): string[] {
  if (name === "." || name === "..") return [`may not be '${name}'`];
  return ["/", "%"].filter((part) => name.includes(part)).map((part) => `may not contain '${part}'`);
}

/** The same for a generateName, which may end in anything. */
export function pathSegmentPrefix(name: string): string[] {
  return ["/", "%"].filter((part) => name.includes(part)).map((part) => `may not contain '${part}'`);
}

/** A domain name with at least `segments` segments. */
export function fullyQualifiedName(value: string, segments = 3): string[] {
  if (value === "") return ["must be non-empty"];
  const messages = dns1123Subdomain(value);
  if (messages.length > 0) return messages;
  const words = segments === 2 ? "two" : segments === 3 ? "three" : String(segments);
  return value.split(".").length < segments
    ? [`should be a domain with at least ${words} segments separated by dots`]
    : [];
}

/** "acme.io/foo": a domain and a path (signer names, parameters). */
export function domainPrefixedPath(value: string): string[] {
  const slash = value.indexOf("/");
  if (slash <= 0 || slash === value.length - 1) return ['must be a domain-prefixed path (such as "acme.io/foo")'];
  const messages = dns1123Subdomain(value.slice(0, slash));
  const path = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
  if (!whole(path).test(value.slice(slash + 1))) messages.push(regexMessage("Invalid path", path));
  return messages;
}

/**
 * As a generateName is checked: a trailing dash is what the suffix will follow, so the name is checked as if an
 * alphanumeric character stood there.
 */
export function maskTrailingDash(name: string): string {
  return name.length > 1 && name.endsWith("-") ? `${name.slice(0, -1)}a` : name;
}

/** No vowels and no look-alikes, so that no words come up. */
const suffixAlphabet = "bcdfghjklmnpqrstvwxz2456789";
const suffixLength = 5;

/** Random characters as Kubernetes puts behind names; `length` characters. */
export function randomSuffix(length = suffixLength): string {
  let text = "";
  while (text.length < length) {
    for (const byte of crypto.getRandomValues(new Uint8Array(length * 2))) {
      // Bytes from the incomplete last round would make the first letters likelier.
      if (byte < 256 - (256 % suffixAlphabet.length) && text.length < length) {
        text += suffixAlphabet[byte % suffixAlphabet.length];
      }
    }
  }
  return text;
}

/** A name from metadata.generateName: cut so that base and suffix fit a label. */
export function generateName(base: string): string {
  return base.slice(0, labelMaxLength - suffixLength) + randomSuffix();
}

/** Kubernetes' rand.SafeEncodeString: digits and letters of a hash, in the suffix alphabet. */
export function safeEncode(text: string): string {
  let encoded = "";
  for (const byte of Buffer.from(text)) encoded += suffixAlphabet[byte % suffixAlphabet.length];
  return encoded;
}
