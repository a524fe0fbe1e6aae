// Android. build.gradle: implementation("com.google.mediapipe:tasks-vision:latest.release")
// Put @FILE@ into app/src/main/assets. These lines were not run by edgevit.
import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.@SNAKE_PACKAGE@.@PICTURE_TASK@

class EdgeModel(context: Context) {
    private val task = @PICTURE_TASK@.createFromOptions(
        context,
        @PICTURE_TASK@.@PICTURE_TASK@Options.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@FILE@").build())
@KOTLIN_OPTIONS@            .build()
    )

    /** A picture of any size, ARGB_8888. */
    fun run(picture: Bitmap) = task.@VERB@(BitmapImageBuilder(picture).build())
}
