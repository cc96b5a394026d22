type Texts = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Descriptions of the built-in types; loaded only for documents that people read. */
export interface Descriptions {
  /** Of a type by its definition name. */
  type(name: string): string | undefined;
  field(type: string, field: string): string | undefined;
}

/** Loads the descriptions of all built-in types (half a megabyte of text; each group-version is parsed when used). */
export async function loadDescriptions(): Promise<Descriptions> {
  const { descriptionData } = await import("../generated/descriptions.ts");
  const parsed = new Map<string, Texts>();
  function texts(name: string): Readonly<Record<string, string>> | undefined {
    const dot = name.lastIndexOf(".");
    const packageName = name.slice(0, dot);
    let all = parsed.get(packageName);
    if (!all) {
      all = JSON.parse(descriptionData[packageName] ?? "{}") as Texts;
      parsed.set(packageName, all);
    }
    return all[name.slice(dot + 1)];
  }
  return { type: (name) => texts(name)?.[""], field: (type, field) => texts(type)?.[field] };
}
