/** What a plain scalar stands for in YAML 1.1 as Go's yaml.v2 resolves it; all else is text. */
export const plainScalars = {
  null: /^(?:~|null|Null|NULL)?$/,
  true: /^(?:[yY]|yes|Yes|YES|true|True|TRUE|on|On|ON)$/,
  false: /^(?:[nN]|no|No|NO|false|False|FALSE|off|Off|OFF)$/,
  integer: /^[-+]?(?:0b[01_]+|0x[\da-fA-F_]+|0o?[0-7_]+|0|[1-9][\d_]*)$/,
  fraction: /^[-+]?(?:\.\d[\d_]*|\d[\d_]*(?:\.[\d_]*)?)(?:[eE][-+]?\d+)?$/,
  noNumber: /^(?:\.nan|\.NaN|\.NAN|[-+]?\.(?:inf|Inf|INF))$/,
} as const;
