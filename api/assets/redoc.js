// Starts ReDoc on /api/redoc/.
const sans = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif";
const mono = "ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace";
Redoc.init(
  "/api/schema/",
  {
    expandResponses: "200,201,202",
    hideDownloadButton: true,
    hideHostname: true,
    jsonSampleExpandLevel: 3,
    requiredPropsFirst: true,
    scrollYOffset: "header.recado",
    theme: {
      colors: { primary: { main: "#0f766e" } },
      sidebar: { backgroundColor: "#f6f8f8", width: "300px" },
      rightPanel: { backgroundColor: "#17282c" },
      typography: {
        fontFamily: sans,
        headings: { fontFamily: sans, fontWeight: "600" },
        code: { fontFamily: mono, color: "#0f5f59", backgroundColor: "#eef4f3" },
      },
    },
  },
  document.getElementById("redoc"),
);
