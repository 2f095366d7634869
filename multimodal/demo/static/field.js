// What gradio's components lack: names for screen readers, of the question's field and of the files of a message; and
// a question's field that sends nothing while an answer is written.
(() => {
  const name_of = (address) => decodeURIComponent(new URL(address, location).pathname.split("/").pop());
  const label = () => {
    document.querySelector("#box textarea:not([aria-label])")?.setAttribute("aria-label", "Your question");
    for (const image of document.querySelectorAll('#chat .message img[alt=""], #chat .message img:not([alt])'))
      image.alt = name_of(image.src);
    for (const media of document.querySelectorAll("#chat .message :is(audio, video):not([aria-label])"))
      media.setAttribute("aria-label", name_of(media.currentSrc || media.src || "file"));
  };
  new MutationObserver(label).observe(document.documentElement, { childList: true, subtree: true });
  label();

  // The next question waits for the answer, as the button that is not there says; a new line in it does not.
  const waits = (event) => {
    if (event.key !== "Enter" || event.shiftKey || !event.target.closest?.("#box textarea")) return;
    if (!document.body.classList.contains("answering")) return;
    event.preventDefault();
    event.stopPropagation();
  };
  document.addEventListener("keypress", waits, { capture: true });
})();
