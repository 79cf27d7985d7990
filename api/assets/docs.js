// Starts Swagger UI on /api/docs/.
SwaggerUIBundle({
  url: "/api/schema/",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  defaultModelExpandDepth: 2,
  defaultModelRendering: "model",
  displayRequestDuration: true,
  showExtensions: false,
  filter: true,
  tryItOutEnabled: true,
  // Otherwise it would ask a server of its maker whether the document is good.
  validatorUrl: null,
});
