// Sets the theme before the first paint; dark unless this browser has chosen otherwise.
{
  let chosen = null;
  try { chosen = localStorage.getItem("readfirst-theme"); } catch { /* storage may be forbidden: dark it is */ }
  if (chosen === "light") document.documentElement.dataset.theme = "light";
}
