/** A ConfigMap of 500 bytes as JSON; "%" in its name stands for its number. */
export function configMapText(namespace: string, name: string): string {
  const bytes = 500;
  const of = (text: string) =>
    JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data: { text } });
  return of("x".repeat(bytes - of("").length));
}

/** A ConfigMap that says when it was sent: "@" stands for the time. */
export function changeText(namespace: string, name: string): string {
  return configMapText(namespace, name).replace('"data":{', '"data":{"at":"@",');
}

/** A pod as a Deployment makes them; no scheduler knows it, so that nothing else happens to it. */
export function podText(namespace: string, name: string): string {
  const probe = { httpGet: { path: "/healthz", port: 8080 }, periodSeconds: 10 };
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { app: "web", "pod-template-hash": "7d4b9c5f8" } },
    spec: {
      schedulerName: "nobody",
      containers: [
        {
          name: "web",
          image: "registry.example.com/team/web:1.2.3",
          ports: [{ containerPort: 8080 }],
          env: [
            { name: "LOG_LEVEL", value: "info" },
            { name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
          ],
          resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "256Mi" } },
          readinessProbe: probe,
          volumeMounts: [{ name: "config", mountPath: "/etc/web" }],
        },
      ],
      volumes: [{ name: "config", configMap: { name: "web" } }],
    },
  });
}
