// A file of its own, so that the page's policy can refuse inline scripts.
window.addEventListener("load", () => {
  window.SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", validatorUrl: null });
});
