// The download buttons save a file instead of showing it as text in a new tab.
document.addEventListener("DOMContentLoaded", () => {
  const links = document.querySelectorAll("a.btn-download-source-button, a.btn-download-text-button");
  links.forEach((link) => { link.setAttribute("download", ""); link.removeAttribute("target"); });
});
